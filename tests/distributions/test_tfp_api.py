"""What users of TFP's distributions do with ours besides scores and samples."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.distributions import StandardNormal

pytestmark = pytest.mark.usefixtures("eagerly")

M = tfdgm.models
SMALL = {
    "maf": lambda: M.MAF((3,), num_layers=2, hidden_units=(4,), standardize=True),
    "dequantized": lambda: M.RealNVP((2,), levels=4, num_layers=2, hidden_units=(4,)),
    "made": lambda: M.MADE((2,), levels=3, hidden_units=(4,)),
    "mixture": lambda: M.GaussianMixture((2,), num_components=2),
    "conditional": lambda: M.MADE((2,), levels=3, hidden_units=(4,), condition_shape=(1,)),
    "stock": lambda: tfdgm.DensityModel.from_distribution(tfd.MultivariateNormalDiag(tf.Variable([1.0, 2.0]), [3.0, 4.0])),
}


@pytest.fixture(scope="module", params=SMALL)
def model(request):
    model = SMALL[request.param]()
    random = np.random.default_rng(0)
    shape = (20, *model.event_shape)
    x = random.normal(size=shape) if model.levels is None else random.integers(0, 3, shape)
    model.adapt(x, None if model.condition_shape is None else np.arange(20.0)[:, None])
    return model


def given(model):
    return {} if model.condition_shape is None else {"condition": np.full(model.condition_shape, 3.0, "float32")}


class TestVariables:
    def test_are_those_of_the_model(self, model):
        ids = {id(weight.value) for weight in model.trainable_weights}
        assert ids and {id(variable) for variable in model.distribution.trainable_variables} == ids
        everything = (*model.distribution.trainable_variables, *model.distribution.non_trainable_variables)
        assert {id(v) for v in model.distribution.variables} == {id(v) for v in everything}
        assert len(model.distribution.variables) == len(everything)

    def test_gradients_with_respect_to_them(self, model):
        d = model.distribution
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(d.log_prob(tf.ones((4, *model.event_shape), d.dtype), **given(model)))
        assert None not in tape.gradient(loss, d.trainable_variables, unconnected_gradients="zero")

    def test_of_a_bijector(self):
        flow = SMALL["maf"]()
        assert len(flow.distribution.bijector.trainable_variables) == len(flow.trainable_weights) == 8

    def test_what_is_frozen_is_not_trainable(self):
        made = SMALL["made"]()
        made.distribution.network.trainable = False
        assert made.distribution.trainable_variables == () and len(made.distribution.variables) > 0


class TestCopy:
    def test_scores_the_same_with_the_same_weights(self, model):
        d, x = model.distribution, np.ones((2, *model.event_shape), model.distribution.dtype.as_numpy_dtype)
        copied = d.copy(name="other")
        assert type(copied) is type(d) and copied.name == "other"
        np.testing.assert_array_equal(copied.log_prob(x, **given(model)), d.log_prob(x, **given(model)))
        assert {id(v) for v in copied.trainable_variables} == {id(v) for v in d.trainable_variables}

    def test_takes_another_base(self):
        flow = SMALL["maf"]().distribution
        copied = flow.copy(base=tfd.Sample(tfd.StudentT(3.0, 0.0, 1.0), 3))
        x = np.ones((2, 3), "float32")
        z, log_det = flow.to_base(x)
        expected = tfd.StudentT(3.0, 0.0, 1.0).log_prob(z).numpy().sum(axis=1) + log_det
        np.testing.assert_allclose(copied.log_prob(x), expected, rtol=1e-5)

    def test_what_would_have_other_weights_is_an_error(self):
        with pytest.raises(NotImplementedError, match="makes its own weights"):
            SMALL["mixture"]().distribution.base.copy()

    def test_parameters_hide_no_layers_twice(self, model):
        before = len(tfdgm.models.parts.layers_and_variables(model.distribution))
        assert "name" in model.distribution.parameters
        assert len(tfdgm.models.parts.layers_and_variables(model.distribution)) == before


class TestMoments:
    @pytest.mark.parametrize("name", ["mean", "variance", "stddev", "covariance", "entropy"])
    def test_of_stock_distributions_are_theirs(self, name):
        stock = tfd.MultivariateNormalDiag([1.0, 2.0], [3.0, 4.0])
        ours = tfdgm.DensityModel.from_distribution(stock).distribution
        np.testing.assert_array_equal(getattr(ours, name)(), getattr(stock, name)())

    @pytest.mark.parametrize("name", ["mean", "variance", "stddev", "covariance", "entropy"])
    def test_the_error_says_how_to_estimate(self, name):
        """What it says, run on a distribution whose values are known."""
        d = StandardNormal((3,))
        with pytest.raises(NotImplementedError, match=f"StandardNormal has no formula for `{name}`") as caught:
            getattr(d, name)()
        code, *error = re.findall("`(.+?)`", str(caught.value))[1:]
        names = {"d": d, "tf": tf, "tfp": tfp}
        *lines, value = code.split("; ")
        exec("; ".join(lines), names)
        expected = getattr(tfd.MultivariateNormalDiag(tf.zeros(3)), name)().numpy()
        allowed = 4 * eval(error[0], names).numpy() if error else 0.15
        assert (np.abs(eval(value, names) - expected) < allowed).all()

    def test_the_error_of_integers_under_a_condition(self):
        d = M.MADE((2,), levels=3, hidden_units=(4,), condition_shape=(1,)).distribution
        with pytest.raises(NotImplementedError, match=r"tf\.float32") as caught:
            d.mean(condition=[0.0])
        names = {"d": d, "tf": tf, "c": [0.0]}
        *lines, value = re.findall("`(.+?)`", str(caught.value))[1].split("; ")
        exec("; ".join(lines), names)
        assert (np.abs(eval(value, names) - 1) < 1).all()

    def test_entropy_of_an_estimate_is_called_a_bound(self):
        with pytest.raises(NotImplementedError, match="no less than the entropy"):
            SMALL["dequantized"]().distribution.entropy()


class TestSampleShapes:
    @pytest.mark.parametrize(
        ("shape", "of_condition"),
        [((5, 4), (1,)), ((5, 4), (5, 4, 1)), ((5, 4), (4, 1)), (5, (5, 1)), (5, (1,)), ((), (1,)), (0, (1,))],
    )
    def test_conditions_broadcast(self, shape, of_condition):
        d, condition = _Sure(), np.random.default_rng(0).normal(size=of_condition).astype("float32")
        sampled = d.sample(shape, seed=1, condition=condition)
        shape = (shape,) if isinstance(shape, int) else shape
        np.testing.assert_allclose(sampled, np.broadcast_to(condition, (*shape, 1)))
        both, log_prob = d.experimental_sample_and_log_prob(shape, seed=1, condition=condition)
        np.testing.assert_array_equal(both, sampled)
        assert log_prob.shape == shape

    @pytest.mark.parametrize(("shape", "of_condition"), [(5, (4, 1)), (5, (3,)), ((5, 4), (5, 1)), ((), (2, 1))])
    def test_others_are_refused(self, shape, of_condition):
        with pytest.raises(ValueError, match=r"`condition` must be one of condition_shape=\(1,\).*Received: condition.shape="):
            _Sure().sample(shape, seed=1, condition=np.zeros(of_condition))
        with pytest.raises(ValueError, match=r"`condition` must be one of condition_shape=\(1,\).*Received: condition.shape="):
            x = np.zeros((*np.atleast_1d(shape).astype(int), 1), "float32")
            _Sure().log_prob(x, condition=np.zeros(of_condition))

    def test_without_one(self):
        assert SMALL["made"]().distribution.sample((5, 4), seed=1).shape == (5, 4, 2)
        with pytest.raises(ValueError, match="needs a `condition`"):
            _Sure().sample(2)
        with pytest.raises(ValueError, match="takes no `condition`"):
            SMALL["made"]().distribution.sample(2, condition=[1.0])


class _Sure(tfdgm.distributions.Distribution):
    """x = c."""

    def __init__(self):
        super().__init__(tfdgm.event.Event((1,)), dtype="float32", condition_shape=(1,), name="sure")

    def draw_noise(self, seeds):
        return tf.zeros((tf.shape(seeds)[0], 1))

    def _from_noise(self, noise, condition):
        return noise + condition

    def _log_prob_of_rows(self, x, condition, noise, known):
        return tf.zeros(tf.shape(x)[0])
