"""`predict` and `evaluate` say where scores are -infinity."""

import numpy as np
import pytest

import tfdgm
from tfdgm import zoo
from tfdgm.non_finite import NonFiniteScoresWarning


def test_they_are_counted_and_the_first_is_named(eagerly):
    x = np.random.default_rng(0).normal(size=(50, 2)).astype("float32")
    model = tfdgm.models.MAF((2,), num_layers=1, hidden_units=(4,))
    model.compile("adam")
    model.adapt(x)
    x[[7, 30], 1] = 1e38
    with pytest.warns(NonFiniteScoresWarning, match="2 of 50 scores are -inf or NaN, the first that of row 7"):
        scores = model.predict(x, verbose=0)
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(scores)), [7, 30])
    with pytest.warns(NonFiniteScoresWarning, match=r"The loss is inf: a row's log_prob is -inf or NaN. `predict` tells which"):
        assert model.evaluate(x, verbose=0) == np.inf
    with pytest.warns(NonFiniteScoresWarning, match="2 of 50"):
        result = zoo.evaluate(model, [{"x": x}])
    assert result.nll == np.inf and np.isnan(result.standard_error)
