import numpy as np
import pytest
import tensorflow as tf
from contracts import CASES, model_cases, randomize
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.tasks import Check, Report, bijector_checks, density_checks, verification

pytestmark = pytest.mark.usefixtures("eagerly")

NAMES = [
    "finite log_prob",
    "rows scored independently",
    "round trip x -> z -> x",
    "round trip z -> x -> z",
    "log-det x -> z = autodiff",
    "log-det z -> x = autodiff",
    "log-dets add up to 0",
    "total mass",
    "mask leaks",
    "generate = call",
    "step = call",
    "same seed, same sample",
    "more samples begin alike",
    "SavedModel: log_prob",
    "SavedModel: sample",
    "SavedModel: complete",
    "load: log_prob",
]


class TestCheck:
    def test_passed(self):
        assert Check("a", 1.0, 1.0).passed is True
        assert Check("a", 1.1, 1.0).passed is False
        assert Check("a", float("nan"), 1.0).passed is False
        assert Check("a", 0, 0).passed is True
        assert Check.skip("a", "why").passed is None


class TestReport:
    def test_table(self):
        checks = [Check("first", 1e-9, 1e-3, "of 3 rows"), Check("second one", 0.5, 1e-3), Check.skip("third", "no flow")]
        lines = str(Report(checks, "MAF (3,)")).splitlines()
        assert lines[0] == "MAF (3,)"
        assert lines[1].split() == ["check", "measured", "tolerance"]
        assert lines[2].split() == ["first", "1e-09", "0.001", "PASS", "of", "3", "rows"]
        assert lines[3].split() == ["second", "one", "0.5", "0.001", "FAIL"]
        assert lines[4].split() == ["third", "-", "-", "skipped", "no", "flow"]
        assert lines[5] == "FAIL: 1 passed, 1 failed, 1 skipped"

    def test_passed(self):
        good, bad, skipped = Check("a", 0, 1), Check("b", 2, 1), Check.skip("c", "")
        assert Report([good, skipped]).passed
        assert not Report([good, bad]).passed
        assert not Report([skipped]).passed  # Nothing was measured.
        assert Report([good, bad])["b"] is bad
        with pytest.raises(KeyError, match="Known"):
            Report([good])["z"]


class TestVerify:
    @pytest.mark.slow
    @model_cases("made_categorical", "maf_condition", "maf_levels_act_norm", "gaussian_mixture")
    def test_sound_models_pass(self, case):
        model = case.make(seed=2)
        model.adapt(case.x, case.condition)
        report = tfdgm.verify(model, case.x, condition=case.condition)
        assert report.passed, str(report)
        assert [check.name for check in report.checks] == NAMES
        skipped = {check.name for check in report.checks if check.skipped}
        flow, network = case.name != "made_categorical", case.name != "gaussian_mixture"
        assert skipped == (
            {name for name in NAMES[2:7] if not flow}
            | {name for name in NAMES[8:11] if not network}
            | ({"total mass", "SavedModel: complete"} if flow else set())  # Three dimensions; not autoregressive in x.
        )

    def test_warnings_of_retracing_are_left_out_and_come_again_afterwards(self, monkeypatch, caplog):
        model = CASES["made_categorical"].make()
        logger = tf.get_logger()
        monkeypatch.setattr(verification, "_score_checks", lambda *_: logger.warning("traced again") or ())
        tfdgm.verify(model, artifact=False)
        monkeypatch.setattr(verification, "_score_checks", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tfdgm.verify(model, artifact=False)
        logger.warning("another")
        assert "another" in caplog.text and "traced again" not in caplog.text

    def test_on_own_samples_and_total_mass(self):
        model = tfdgm.models.MAF((2,), num_layers=2, hidden_units=(8,), levels=4, dtype="float64")
        model.use_xla = False
        report = tfdgm.verify(model, artifact=False)
        assert report.passed, str(report)
        assert not report["total mass"].skipped
        assert [check.name for check in report.checks] == NAMES[:13]

    def test_conditions_are_made_up_or_given(self):
        model = CASES["made_binary_condition"].make(seed=2)
        report = tfdgm.verify(model, artifact=False)
        assert report.passed, str(report)
        assert report.title.endswith("64 rows; condition: standard normal numbers")
        for condition, rows in (([0.0, 1.0], 64), (np.eye(2), 2), (np.ones((100, 2)), 64)):
            x, used = verification._rows(model, None, condition, 64, 0)
            np.testing.assert_array_equal(used, np.resize(condition, (rows, 2)))
            assert len(x) == rows
        with pytest.raises(ValueError, match=r"`condition` must have shape \(5, 2\)"):
            tfdgm.verify(model, condition=np.ones((5, 3)))
        with pytest.raises(ValueError, match="at least one row"):
            tfdgm.verify(model, condition=np.ones((0, 2)))
        with pytest.raises(ValueError, match="takes no `condition`"):
            tfdgm.verify(CASES["made_binary"].make(), condition=np.ones((5, 3)))

    def test_a_stock_distribution(self):
        model = tfdgm.DensityModel.from_distribution(tfd.MultivariateNormalDiag(tf.Variable([1.0, 2.0])))
        report = tfdgm.verify(model)
        assert report.passed, str(report)
        assert report["total mass"].passed
        assert report["load: log_prob"].skipped

    def test_x_is_checked(self):
        model = CASES["maf"].make()
        with pytest.raises(ValueError, match="must end in event_shape"):
            tfdgm.verify(model, np.zeros((3, 2)))
        with pytest.raises(ValueError, match="at least one row"):
            tfdgm.verify(model, np.zeros((0, 3)))


class TestBrokenModelsFail:
    """Each way in which published libraries were wrong."""

    def report(self, model, x=None):
        model.use_xla = False
        return tfdgm.verify(model, x, artifact=False)

    def failed(self, report):
        return {check.name for check in report.checks if check.passed is False}

    def test_wrong_sign_of_the_log_det(self, monkeypatch):
        case = CASES["realnvp"]
        coupling = tfdgm.bijectors.AffineCoupling
        inverse = coupling.inverse_and_log_det

        def wrong(self, x, condition=None):
            z, log_det = inverse(self, x, condition)
            return z, -log_det

        monkeypatch.setattr(coupling, "inverse_and_log_det", wrong)
        assert self.failed(self.report(case.make(seed=2), case.x)) == {"log-det x -> z = autodiff", "log-dets add up to 0"}

    def test_wrong_inverse(self, monkeypatch):
        case = CASES["realnvp"]
        coupling = tfdgm.bijectors.AffineCoupling
        inverse = coupling.inverse_and_log_det
        monkeypatch.setattr(coupling, "inverse_and_log_det", lambda self, x, condition=None: inverse(self, x + 0.1, condition))
        assert {"round trip x -> z -> x", "round trip z -> x -> z"} <= self.failed(self.report(case.make(seed=2), case.x))

    def test_leaking_mask(self):
        case = CASES["made_categorical"]
        model = case.make(seed=2)
        network = next(layer for layer in model._flatten_layers() if isinstance(layer, tfdgm.networks.MADE))
        network.out.mask[:] = True
        network.hidden[0].mask[:] = True
        failed = self.failed(self.report(randomize(model, 3), case.x))
        assert {"mask leaks", "step = call", "generate = call", "total mass"} <= failed

    def test_scores_that_depend_on_the_batch(self, monkeypatch):
        case = CASES["realnvp"]
        model = case.make(seed=2)
        model.adapt(case.x)  # Without it the scores are so large that the error is within their rounding.
        score = tfdgm.distributions.Flow.log_prob_of_rows

        def wrong(self, x, condition=None, noise=None):
            return score(self, x, condition) + 0.01 * tf.reduce_mean(x)

        monkeypatch.setattr(tfdgm.distributions.Flow, "log_prob_of_rows", wrong)
        assert "rows scored independently" in self.failed(self.report(model, case.x))

    def test_scores_that_are_not_finite(self):
        model = CASES["realnvp"].make(seed=2)
        for weight in model.trainable_weights:
            weight.assign(np.full(weight.shape, np.nan))
        report = self.report(model, CASES["realnvp"].x)
        assert report["finite log_prob"].value == 48 and not report.passed


class TestMeasurements:
    def test_total_mass_of_a_known_density(self):
        for scale in (1e-6, 1.0, 1e6):
            normal = tfd.Normal(tf.constant(5 * scale, tf.float64), tf.constant(scale, tf.float64))
            samples = normal.sample((1000, 1), seed=1).numpy()
            check = density_checks.total_mass("m", lambda x, n=normal: n.log_prob(x)[:, 0], samples, 1e-3)
            assert check.value < 1e-6

    def test_a_grid_too_coarse_is_said_and_not_judged(self):
        # Two peaks so narrow that most of the grid passes them by.
        peaks = tfd.MixtureSameFamily(
            tfd.Categorical(probs=tf.constant([0.4, 0.6], tf.float64)), tfd.Normal(tf.constant([-1.0, 1], tf.float64), 1e-5)
        )
        samples = peaks.sample((500, 1), seed=1).numpy()
        check = density_checks.total_mass("m", lambda x: peaks.log_prob(x)[:, 0], samples, 1e-3, points=101)
        assert check.skipped and "too sharp" in check.detail

    def test_total_probability(self):
        def log_prob(x):
            return np.where(x.sum(axis=1) == 2, np.log(0.25), np.log(0.25) + 0.1)

        check = density_checks.total_probability("p", log_prob, (2,), 2, 1e-5)
        np.testing.assert_allclose(check.value, abs(0.25 + 0.75 * np.exp(0.1) - 1), rtol=1e-12)

    def test_jacobian(self):
        def function(x):
            return tf.stack([x[:, 0] * x[:, 1], x[:, 1] ** 3], axis=1), tf.zeros(len(x))

        jacobian = bijector_checks.jacobian(function, np.array([[2.0, 3.0], [1.0, 5.0]]))
        np.testing.assert_allclose(jacobian, [[[3, 2], [0, 27]], [[5, 1], [0, 75]]])

    def test_a_loop_is_seen(self):
        rows = np.zeros((2, 3), "float32")
        straight = tf.function(lambda x: x + 1)
        loop = tf.function(lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1])
        assert not verification._loops(straight, rows) and verification._loops(loop, rows)
