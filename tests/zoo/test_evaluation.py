import numpy as np
import pytest

import tfdgm
from tfdgm import zoo

pytestmark = pytest.mark.usefixtures("eagerly")


class Scores:
    """Stands for a model whose log-probability is x itself."""

    levels, event_shape = 4, (2, 3)

    def lower_bound(self, x, condition=None, *, first_row):
        return np.float32(x) if condition is None else np.float32(x) + condition


class TestEstimates:
    def test_the_error_is_that_of_the_draws_too(self):
        # Rows that are all equal: with one fixed draw for all, the error was 0 and the mean that of this draw.
        model = tfdgm.models.MAF((2,), levels=4, num_layers=1, hidden_units=(4,))
        model.use_xla = False
        x = np.full((2000, 2), 1)
        result = zoo.evaluate(model, [{"x": x[:700]}, {"x": x[700:]}])
        draws = np.random.default_rng(0).uniform(size=(200_000, 2)).astype("float32")
        rows = np.repeat(x[:1].astype("int32"), len(draws), axis=0)
        bound = model.distribution.log_prob_of_rows(rows, noise=draws).numpy().mean()
        assert 0 < result.standard_error < 0.05
        assert abs(result.log_likelihood - bound) < 5 * result.standard_error


class TestEvaluate:
    def test_mean_and_error_over_batches_of_any_size(self):
        x = np.random.default_rng(0).normal(100, 3, size=57)
        result = zoo.evaluate(Scores(), [{"x": part} for part in (x[:20], x[20:21], x[21:])])
        assert result.rows == 57
        np.testing.assert_allclose(result.log_likelihood, x.mean(), rtol=1e-6)
        np.testing.assert_allclose(result.standard_error, x.std(ddof=1) / 57**0.5, rtol=1e-5)
        np.testing.assert_allclose(result.bits_per_dim, -x.mean() / 6 / np.log(2), rtol=1e-6)

    def test_weights(self):
        random = np.random.default_rng(0)
        x, times = random.normal(100, 3, size=57), random.integers(0, 4, 57)
        result = zoo.evaluate(Scores(), [{"x": x[:20], "weight": 0.1 * times[:20]}, {"x": x[20:], "weight": 0.1 * times[20:]}])
        assert result.rows == 57
        np.testing.assert_allclose(result.log_likelihood, np.repeat(x, times).mean(), rtol=1e-6)
        means = [np.average(x[k], weights=times[k]) for k in random.integers(0, 57, (4000, 57))]  # The bootstrap.
        np.testing.assert_allclose(result.standard_error, np.std(means), rtol=0.06)

    def test_conditions_go_along(self):
        assert zoo.evaluate(Scores(), [{"x": np.zeros(3), "condition": np.ones(3)}]).log_likelihood == 1.0

    def test_one_row_has_no_standard_error(self):
        assert np.isnan(zoo.evaluate(Scores(), [{"x": np.zeros(1)}]).standard_error)

    def test_no_rows(self):
        with pytest.raises(ValueError, match="no rows"):
            zoo.evaluate(Scores(), [])
