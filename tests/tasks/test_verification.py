import functools
import json
import logging
import shutil

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.cases import CASES, model_cases
from contracts.weights import randomize
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm import networks
from tfdgm.distributions.noise import uniforms
from tfdgm.serving.signatures import signatures
from tfdgm.tasks import (
    Check,
    Report,
    artifact_checks,
    bijector_checks,
    density_checks,
    evidence,
    network_checks,
    sampler_checks,
    score_checks,
    verification,
)
from tfdgm.tasks.subject import Subject

pytestmark = pytest.mark.usefixtures("eagerly")

SCORES = ["finite log_prob", "rows scored independently", "float32 = float64", "scores follow the weights"]
FLOW = [
    "round trip x -> z -> x",
    "round trip z -> x -> z",
    "log-det x -> z = autodiff",
    "log-det z -> x = autodiff",
    "log-dets add up to 0",
    "log_prob = base + log-det",
    "z of a sample = its noise",
]
MASS = ["total mass", "samples as often as P(x)", "score below log P(x)", "integral, and samples"]
NETWORKS = ["mask leaks", "generate = call", "step = call"]
NOISE = ["noise of samples", "noise of scores", "score = density at x + u", "samples = floors of the density's"]
BASE = ["base = SciPy's normal", "samples come from the normal"]
AUTOREGRESSIVE = [
    "draws = those of call",
    "log_prob = sum of positions",
    "samples as their positions say",
    "family: draws follow log_prob",
    "family: mass",
]
SAMPLES = ["same seed, same sample", "more samples begin alike"]
SIGNATURES = [f"SavedModel: {name}" for name in ("signatures", "log_prob", "sample", "encode", "decode", "complete")]
ARTIFACT = [*SIGNATURES, "load: log_prob"]
NAMES = [*SCORES, *FLOW, *MASS, *NETWORKS, *NOISE, *BASE, *AUTOREGRESSIVE, *SAMPLES, *ARTIFACT]

#: What does not apply to, or is not seen of, three dimensions of each.
SKIPPED = {
    "made_categorical": {*FLOW, *MASS[2:], *NOISE[1:], *BASE, *ARTIFACT[3:5]},
    "maf_condition": {FLOW[3], *MASS[:3], *NOISE[1:], *AUTOREGRESSIVE, ARTIFACT[5]},
    "maf_levels_act_norm": {FLOW[3], *MASS[:3], *AUTOREGRESSIVE, ARTIFACT[5]},
    "gaussian_mixture": {*MASS[:3], *NETWORKS, *NOISE, *BASE, *AUTOREGRESSIVE, ARTIFACT[5]},
}


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
        assert {check.name for check in report.checks if check.skipped} == SKIPPED[case.name]

    def test_warnings_of_retracing_are_left_out_and_come_again_afterwards(self, monkeypatch, request):
        model, heard = CASES["made_categorical"].make(), []
        # A handler and a level of our own: other libraries, and our command line, change those of the root.
        logger, handler = tf.get_logger(), logging.Handler()
        handler.emit = lambda record: heard.append(record.getMessage())
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
        request.addfinalizer(functools.partial(logger.setLevel, logger.level))
        logger.setLevel(logging.WARNING)
        monkeypatch.setattr(score_checks, "checks", lambda *_: logger.warning("traced again") or ())
        tfdgm.verify(model, artifact=False)
        monkeypatch.setattr(score_checks, "checks", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tfdgm.verify(model, artifact=False)
        logger.warning("another")
        assert heard == ["another"]

    @pytest.mark.slow
    def test_on_own_samples_and_total_mass(self):
        model = tfdgm.models.MAF((2,), num_layers=2, hidden_units=(8,), levels=4, dtype="float64")
        model.use_xla = False
        report = tfdgm.verify(model, artifact=False)
        assert report.passed, str(report)
        assert not report["total mass"].skipped
        assert [check.name for check in report.checks] == NAMES[: -len(ARTIFACT)]
        assert report["samples as often as P(x)"].passed and report["score below log P(x)"].passed
        assert "log_prob is one draw of an estimate whose mean is a lower bound" in report.title

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

    def test_networks_of_levels_are_measured_between_0_and_1(self, monkeypatch):
        # A network that has learnt from 0..1 may turn a far input into parameters of any size, and then rounding shows.
        call = networks.MADE.call
        model = CASES["made_categorical"].make()

        def only_seen(self, x, condition=None):
            inside = tf.reduce_all((self.seen(x) >= 0) & (self.seen(x) <= 1))
            return call(self, x, condition) + tf.where(inside, tf.zeros((), x.dtype), np.nan)

        monkeypatch.setattr(networks.MADE, "call", only_seen)
        subject = Subject(model, model, model.sample(2).numpy(), None, 0)
        generated = [check for check in network_checks.checks(subject) if check.name != "mask leaks"]
        assert len(generated) == 2 and all(check.passed for check in generated), generated

    @pytest.mark.slow
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
        coupling = tfdgm.bijectors.Coupling
        inverse = coupling.inverse_and_log_det

        def wrong(self, x, condition=None):
            z, log_det = inverse(self, x, condition)
            return z, -log_det

        monkeypatch.setattr(coupling, "inverse_and_log_det", wrong)
        failed = self.failed(self.report(case.make(seed=2), case.x))
        assert failed == {"log-det x -> z = autodiff", "log-dets add up to 0", "integral, and samples"}

    @pytest.mark.slow
    def test_wrong_inverse(self, monkeypatch):
        case = CASES["realnvp"]
        coupling = tfdgm.bijectors.Coupling
        inverse = coupling.inverse_and_log_det
        monkeypatch.setattr(coupling, "inverse_and_log_det", lambda self, x, condition=None: inverse(self, x + 0.1, condition))
        assert {"round trip x -> z -> x", "round trip z -> x -> z"} <= self.failed(self.report(case.make(seed=2), case.x))

    def test_leaking_mask(self):
        case = CASES["made_categorical"]
        model = case.make(seed=2, dtype="float64")
        network = model.distribution.network
        network.out.mask[:] = True
        network.hidden[0].mask[:] = True
        failed = self.failed(self.report(randomize(model, 3), case.x))
        assert {"mask leaks", "step = call", "generate = call", "total mass"} <= failed
        assert "scores follow the weights" in failed  # In this one object alone: built anew it has its masks.

    @pytest.mark.slow
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

        check = density_checks.total_probability("p", log_prob(sampler_checks.events_of((2,), 2)), 1e-5)
        np.testing.assert_allclose(check.value, abs(0.25 + 0.75 * np.exp(0.1) - 1), rtol=1e-12)

    def test_jacobian(self):
        def function(x):
            return tf.stack([x[:, 0] * x[:, 1], x[:, 1] ** 3], axis=1), tf.zeros(len(x))

        jacobian = bijector_checks.jacobian(function, np.array([[2.0, 3.0], [1.0, 5.0]]))
        np.testing.assert_allclose(jacobian, [[[3, 2], [0, 27]], [[5, 1], [0, 75]]])

    def test_cuts_see_what_single_inputs_show(self):
        network = randomize(tfdgm.networks.PixelCNN((4, 4), params_size=2, filters=8, num_layers=1, first_kernel_size=3), 1)
        assert network_checks.cut_leaks("cuts", network).passed
        call = type(network).call
        for seen, name in ((0, 0), (0, 15), (7, 8)):

            class Leaky(type(network)):
                def call(self, x, *args, seen=seen, name=name, **kwargs):
                    params = call(self, x, *args, **kwargs)
                    leak = tf.reshape(x, (-1, 16))[:, name, None, None, None]
                    return params + 1e-3 * leak * tf.reshape(tf.one_hot(seen, 16), (4, 4, 1))

            leaky = Leaky((4, 4), params_size=2, filters=8, num_layers=1, first_kernel_size=3)
            check = network_checks.cut_leaks("cuts", leaky)
            assert check.value == name - seen + 1 and check.detail.endswith(f"one at position {seen}")

    def test_a_loop_is_seen(self):
        rows = np.zeros((2, 3), "float32")
        straight = tf.function(lambda x: x + 1)
        loop = tf.function(lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1])
        assert not bijector_checks.has_loop(straight, rows) and bijector_checks.has_loop(loop, rows)


class TestEvidence:
    """Statistics against SciPy's, at and beyond the level."""

    def test_standard_normal(self):
        g = np.random.default_rng(0).normal(size=(4096, 3))
        assert evidence.against_standard_normal(g)[0] < 3
        wrong = {
            "mean of a dimension": g + np.array([0.15, 0, 0]),
            "variance": 0.93 * g,
            "variance of a dimension": g * np.array([0.85, 1, 1]),
            "correlation of two dimensions": np.concatenate([g[:, :2], g[:, :1] * 0.2 + g[:, 2:] * 0.98], axis=1),
            "correlation of neighbouring rows": np.repeat(g[::2], 2, axis=0),
            "numbers that are not finite": np.where(g > 3, np.nan, g),
        }
        for statistic, numbers in wrong.items():
            value, found = evidence.against_standard_normal(numbers)
            assert value > evidence.LEVEL and found == statistic, (statistic, found, value)
        uniform = np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, size=(4096, 1))  # Of the same mean and variance.
        assert evidence.against_standard_normal(uniform)[1].startswith("distribution")

    def test_counts(self):
        value, _ = evidence.against_counts([60, 40], 100, [0.5, 0.5])
        expected = scipy.stats.binom.sf(59, 100, 0.5) * 4
        np.testing.assert_allclose(10**-value, expected, rtol=1e-9)
        assert evidence.against_counts([100, 0], 100, [1.0, 0.0])[0] == 0
        assert evidence.against_counts([99, 1], 100, [1.0, 0.0])[0] == np.inf
        assert evidence.against_counts([99, 1], 100, [0.5, 0.0], at_least=True)[0] == 0

    def test_surprise(self):
        p = np.array([[0.7, 0.2, 0.1]])
        colder = p ** (1 / 0.9) / np.sum(p ** (1 / 0.9))
        assert evidence.against_surprise(np.log(p), np.round(1e5 * p))[0] == 0
        assert evidence.against_surprise(np.log(p), np.round(1e5 * colder))[0] > evidence.LEVEL

    def test_equal_means_holds_its_level_where_weights_are_rare(self):
        random = np.random.default_rng(0)
        a, b = (random.uniform(size=(300, 500)) < 1e-3 for _ in range(2))
        values = [evidence.against_equal_means({"m": pair})[0] for pair in zip(a * 1.0, b * 1.0, strict=True)]
        assert max(values) < 2
        assert evidence.against_equal_means({"m": (random.uniform(size=5000), random.uniform(size=5000) + 0.1)})[0] > 7


class _Bound(tfdgm.distributions.Distribution):
    """Two bits: log P(x) - `gap`, which says that it is a lower bound."""

    is_bound = True

    def __init__(self, gap):
        super().__init__(tfdgm.Event((2,), levels=2), dtype=tf.float32, name="bound")
        self.logits, self.gap = tf.Variable([0.5, -1.0]), gap

    def _log_prob_of_rows(self, x, condition, noise, known):
        return tf.reduce_sum(tfd.Bernoulli(logits=self.logits).log_prob(tf.cast(x, tf.float32)), axis=-1) - self.gap

    def draw_noise(self, seeds):
        return uniforms(seeds, (2,), tf.float32)

    def _from_noise(self, noise, condition):
        return tf.cast(noise < tf.sigmoid(self.logits), tf.int32)


class TestBoundsOfUsers:
    def test_a_bound_passes(self):
        report = tfdgm.verify(tfdgm.DensityModel.from_distribution(_Bound(0.1)), artifact=False)
        assert report.passed and report["score below log P(x)"].passed, str(report)
        assert "log_prob is a lower bound on log p;" in report.title

    def test_what_is_above_log_p_fails(self):
        report = tfdgm.verify(tfdgm.DensityModel.from_distribution(_Bound(-0.1)), artifact=False)
        assert report["score below log P(x)"].passed is False


class TestSavedModels:
    """`verify` measures the very folder that it is given."""

    def model(self, seed=0, **changes):
        model = tfdgm.models.MADE((3,), levels=3, hidden_units=(8,), **changes)
        model.use_xla = False
        return randomize(model, seed)

    def as_before_digests(self, path):
        """Exports of before held no digests of their files."""
        file = path / "assets.extra" / "tfdgm.json"
        description = json.loads(file.read_text())
        del description["sha256"]
        file.write_text(json.dumps(description))

    @pytest.mark.slow
    def test_a_sound_folder_passes(self, tmp_path):
        self.model().export(tmp_path / "1")
        report = tfdgm.verify(tmp_path)
        assert report.passed and not report["load: log_prob"].skipped, str(report)

    @pytest.mark.slow
    def test_a_kernel_off_by_a_hundredth(self, tmp_path):
        model = self.model()
        model.export(tmp_path / "1")
        kernel = next(weight for weight in model.weights if len(weight.shape) == 2)
        kernel.assign(kernel + 0.01)
        report = tfdgm.verify(model, artifact=tmp_path)
        assert report["SavedModel: log_prob"].passed is False and report["load: log_prob"].passed is False

    @pytest.mark.slow
    @pytest.mark.parametrize("other", [{"activation": "tanh"}, {"input_order": "right-to-left"}])
    def test_another_models_graph(self, other, tmp_path):
        # With weights of the same shapes, and the right ones: loaded as a Keras model, nothing is wrong.
        self.model().export(tmp_path / "1")
        self.model(**other).export(tmp_path / "other" / "1")
        shutil.copy(tmp_path / "other" / "1" / "saved_model.pb", tmp_path / "1" / "saved_model.pb")
        with pytest.raises(tfdgm.serving.ArtifactError, match=r"damaged: saved_model\.pb is not what was exported"):
            tfdgm.verify(tmp_path / "1")
        self.as_before_digests(tmp_path / "1")
        report = tfdgm.verify(tmp_path / "1")
        assert report["SavedModel: log_prob"].passed is False and report["load: log_prob"].passed

    @pytest.mark.parametrize(
        "name",
        ["log_prob", *(pytest.param(name, marks=pytest.mark.slow) for name in ("serving_default", "sample", "encode", "decode"))],
    )
    def test_every_signature_is_compared(self, name, tmp_path):
        # All but one are the model's.
        own, other = (randomize(tfdgm.models.RealNVP((2,), num_layers=2, hidden_units=(4,)), seed) for seed in (0, 1))
        own.use_xla = False
        module = tf.Module()
        module.models = [own._all_weights, other._all_weights]
        functions = {**signatures(own), name: signatures(other)[name]}
        tf.saved_model.save(module, str(tmp_path), signatures=functions)
        (tmp_path / "assets.extra").mkdir()
        description = {"tfdgm": "0.1.0", "class": None, "config": None, "weights": []}
        (tmp_path / "assets.extra" / "tfdgm.json").write_text(json.dumps(description))
        checks = artifact_checks.saved_model(own, own.sample(8, seed=1).numpy(), None, tmp_path, 1e-5)
        failed = [check.name for check in checks if check.passed is False]
        assert failed == [f"SavedModel: {'log_prob' if name == 'serving_default' else name}"]

    @pytest.mark.slow
    def test_cut_variables(self, tmp_path):
        self.model().export(tmp_path / "1")
        variables = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
        whole = variables.read_bytes()
        variables.write_bytes(whole[:-100])  # The weights are whole; what a server reads besides is not.
        with pytest.raises(tfdgm.serving.ArtifactError, match=r"damaged: variables/.*00001 is not what was exported"):
            tfdgm.verify(tmp_path)
        self.as_before_digests(tmp_path / "1")
        report = tfdgm.verify(tmp_path)
        assert report["SavedModel: signatures"].passed is False
        variables.write_bytes(whole[: len(whole) // 20])
        with pytest.raises(tfdgm.serving.ArtifactError, match="damaged"):
            tfdgm.verify(tmp_path / "1")
