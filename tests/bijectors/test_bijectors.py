import contextlib
import itertools
import re

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.checks import passes
from contracts.weights import randomize, weights_of
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.bijectors import (
    ActNorm,
    Chain,
    Coupling,
    Invert,
    MaskedAutoregressive,
    MaskedAutoregressiveLayers,
    Parametric,
    Permute,
    ScaledSigmoid,
    Squeeze,
    forward_and_log_det,
    inverse_and_log_det,
)
from tfdgm.elementwise import Affine
from tfdgm.layers import bounded_log_scale, exporting
from tfdgm.networks import MADE, DenseNetwork
from tfdgm.tasks import bijector_checks, density_checks


class TestActNorm(BijectorContract):
    def make(self, dtype):
        return randomize(ActNorm(self.size, dtype=dtype))

    def test_adapt_gives_mean_0_and_variance_1(self):
        x = np.random.default_rng(0).normal(size=(500, 4)) * [1, 1e-3, 1e3, 5] + [0, 1, -1e4, 1e-3]
        bijector = ActNorm(4, dtype="float64")
        bijector.adapt(tf.constant(x))
        z = bijector.inverse(tf.constant(x)).numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)

    def test_adapt_leaves_the_scale_of_a_constant_dimension(self):
        x = np.stack([np.full(20, 7.1), np.zeros(20), np.arange(20.0), np.full(20, -3e5)], axis=1).astype("float32")
        bijector = ActNorm(4)
        bijector.adapt(tf.constant(x))
        z, log_det = bijector.inverse_and_log_det(tf.constant(x))
        assert np.isfinite(z).all()
        np.testing.assert_allclose(log_det, -np.log(np.arange(20.0).std()), rtol=1e-6)

    @pytest.mark.parametrize(
        ("dtype", "mean", "std"),
        [("float64", 1e9, 50), ("float64", 1e9, 1e-4), ("float64", 0, 1e-35), ("float64", 0, 1e-200), ("float32", 0, 1e-35)],
    )
    def test_adapt_knows_all_that_the_dtype_does(self, dtype, mean, std):
        x = (mean + std * np.random.default_rng(0).normal(size=(300, 1))).astype(dtype)
        bijector = ActNorm(1, dtype=dtype)
        bijector.adapt(tf.constant(x))
        z = bijector.inverse(tf.constant(x)).numpy().astype("float64")
        np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-2)

    def test_constants_are_constant_in_float64_too(self):
        bijector = ActNorm(1, dtype="float64")
        bijector.adapt(tf.fill([1000, 1], tf.constant(0.1, tf.float64)))
        np.testing.assert_array_equal(bijector.shift_and_log_scale.s, [0.0])

    def test_adapt_inverted_gives_x_of_mean_0_and_variance_1(self):
        z = tf.constant(np.random.default_rng(0).normal(size=(500, 4)) * [1, 1e-3, 1e3, 0] + [0, 1, -1e4, 1e-3])
        bijector = ActNorm(4, dtype="float64")
        bijector.adapt_inverted(z)
        x = bijector.forward(z).numpy()
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(x.std(axis=0), [1, 1, 1, 0], rtol=1e-9, atol=1e-9)

    def test_nothing_adapts_inside_a_call(self):
        bijector = ActNorm(4)
        bijector.inverse(tf.constant(np.full((3, 4), 9.0, "float32")))
        np.testing.assert_array_equal(bijector.shift_and_log_scale.b, np.zeros(4))

    def test_not_trainable(self):
        layer = ActNorm(4, trainable=False).shift_and_log_scale
        assert layer.trainable_weights == [] and len(layer.weights) == 2


def _shift_and_log_scale(network):
    """A MADE as stock TFP takes it, with our bound."""

    def shift_and_log_scale(x):
        params = network(x)
        return params[..., 0], bounded_log_scale(params[..., 1])

    return shift_and_log_scale


class TestMaskedAutoregressive(BijectorContract):
    def make(self, dtype):
        return randomize(MaskedAutoregressive(MADE((self.size,), params_size=2, hidden_units=(16, 16), dtype=dtype)))

    def test_formula_by_hand(self):
        # One hidden unit and two dimensions: m_1, r_1 are biases; m_2, r_2 = W relu(w x_1 + b) + bias.
        network = MADE((2,), params_size=2, hidden_units=(1,), dtype="float64")
        hidden, out = network.hidden[0], network.out
        hidden.kernel.assign([[0.5], [9.0]])  # The second input is cut off.
        hidden.bias.assign([0.1])
        out.kernel.assign([[9.0, 9.0, 2.0, -3.0]])
        out.bias.assign([0.3, 0.2, 0.4, 0.6])
        z, log_det = MaskedAutoregressive(network).inverse_and_log_det(tf.constant([[1.0, 2.0]], tf.float64))
        h = 0.5 * 1.0 + 0.1
        a_1, r_2 = 0.2 / (1 + 0.2 / 7), -3 * h + 0.6
        a_2 = r_2 / (1 + abs(r_2) / 7)
        expected = [(1.0 - 0.3) * np.exp(-a_1), (2.0 - (2 * h + 0.4)) * np.exp(-a_2)]
        np.testing.assert_allclose(z[0], expected, rtol=1e-13)
        np.testing.assert_allclose(log_det[0], -a_1 - a_2, rtol=1e-13)

    def test_equals_stock_tfp_run_with_our_network(self):
        bijector = self.make("float64")

        stock = tfb.MaskedAutoregressiveFlow(_shift_and_log_scale(bijector.network))
        x, z = (tf.constant(rows) for rows in (self.ordinary_x("float64"), self.rows_of_z("float64")))
        ours_z, log_det = bijector.inverse_and_log_det(x)
        np.testing.assert_allclose(ours_z, stock.inverse(tf.identity(x)), rtol=1e-12)
        np.testing.assert_allclose(log_det, stock.inverse_log_det_jacobian(tf.identity(x), event_ndims=1), rtol=1e-12)
        ours_x, log_det = bijector.forward_and_log_det(z)
        np.testing.assert_allclose(ours_x, stock.forward(tf.identity(z)), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(log_det, stock.forward_log_det_jacobian(tf.identity(z), event_ndims=1), rtol=1e-11)

    def test_params_size_is_checked(self):
        with pytest.raises(ValueError, match=r"the 2 parameters of Affine.*Received: network.params_size=3"):
            MaskedAutoregressive(MADE((2,), params_size=3, hidden_units=(4,)))


class TestMaskedAutoregressiveWithCondition(BijectorContract):
    condition_shape = (3,)

    def make(self, dtype):
        network = MADE((self.size,), params_size=2, hidden_units=(16,), condition_shape=(3,), input_order="random", dtype=dtype)
        return randomize(MaskedAutoregressive(network))

    def test_condition_is_used_and_needed(self):
        bijector, x = self.make("float64"), tf.constant(self.ordinary_x("float64"))
        one, _ = bijector.inverse_and_log_det(x, np.zeros(3))
        other, _ = bijector.inverse_and_log_det(x, np.ones(3))
        assert (np.abs(one - other).max(axis=0) > 1e-3).all()
        with pytest.raises(ValueError, match=r"needs a `condition` of shape.*\(3,\).*Received: None"):
            bijector.inverse(x)

    def test_a_condition_for_each_row(self):
        bijector, x = self.make("float64"), self.ordinary_x("float64")
        conditions = np.random.default_rng(0).normal(size=(len(x), 3))
        together, _ = bijector.inverse_and_log_det(tf.constant(x), conditions)
        for row, condition, expected in zip(x, conditions, together, strict=True):
            np.testing.assert_allclose(bijector.inverse(tf.constant(row), condition=condition), expected, rtol=1e-12)


class TestMaskedAutoregressiveOfOneDimension(BijectorContract):
    size = 1

    def make(self, dtype):
        return randomize(MaskedAutoregressive(MADE((1,), params_size=2, hidden_units=(4,), dtype=dtype)))

    # The hidden units see nothing that the one output may see: only the output's bias matters.
    def test_a_changed_weight_changes_the_score_of_the_same_tensor(self):
        bijector, x = self.make("float64"), tf.constant([[0.5]], tf.float64)
        before = bijector.inverse(x)
        bijector.network.out.bias.assign_add([1.0, 0.0])
        assert abs(bijector.inverse(x) - before) > 1e-6


def layers_of(orders, size, dtype, inverse=False, **changes):
    made = {"params_size": 2, "hidden_units": (20, 20), "activation": "tanh", "dtype": dtype, **changes}
    networks = [MADE((size,), input_order=order, **made) for order in orders]
    return randomize(MaskedAutoregressiveLayers(networks, inverse=inverse), scale=0.7)


class TestMaskedAutoregressiveLayers(BijectorContract):
    size = 5  # Blocks of two, shared by three loops; the last is padded.
    orders = ("left-to-right", (4, 0, 1, 2, 3))
    noise_values = (0.0, 1e-6, -1e-6, 1.0, 3.0, -3.0)

    def make(self, dtype):
        return layers_of(self.orders, self.size, dtype)

    @pytest.mark.parametrize("inverse", [False, True])
    @pytest.mark.parametrize(("size", "mode"), [(1, "model"), (2, "model"), (18, "model"), (18, "exporting")])
    def test_equals_a_chain(self, inverse, size, mode):
        bijector = layers_of(("left-to-right", "right-to-left", "random"), size, "float64", inverse)
        for hidden in (h for layer in bijector.layers for h in (*layer.network.hidden, layer.network.out)):
            hidden.premask()  # As before an export.
        chain = Chain([Invert(layer) if inverse else layer for layer in bijector.layers], dtype=tf.float64)
        z = tf.constant(np.random.default_rng(0).normal(size=(6, size)))
        x, log_det = chain.forward_and_log_det(z)
        with exporting() if mode == "exporting" else contextlib.nullcontext():
            ours, back = bijector.forward_and_log_det(z), bijector.inverse_and_log_det(x)
        for received, expected in zip((*ours, *back), (x, log_det, z, -log_det), strict=True):
            np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.slow
    @pytest.mark.parametrize("compiled", [False, True])
    def test_gradients_through_the_loops(self, compiled):
        # Against those through TFP's own loop over the dimensions, with our networks.
        bijector = self.make("float64")
        stock = tfb.Chain([tfb.MaskedAutoregressiveFlow(_shift_and_log_scale(layer.network)) for layer in bijector.layers])
        z = tf.constant(np.random.default_rng(0).normal(size=(3, self.size)))
        weights = weights_of(bijector)

        def gradients(forward):
            with tf.GradientTape() as tape:
                tape.watch(z)
                loss = tf.reduce_sum(forward(z) ** 2)
            return tape.gradient(loss, [z, *weights])

        ours = (tf.function(gradients, jit_compile=True, autograph=False) if compiled else gradients)(bijector.forward)
        for one, other in zip(ours, gradients(stock.forward), strict=True):
            np.testing.assert_allclose(one, tf.convert_to_tensor(other), rtol=1e-8, atol=1e-8)

    def test_weights_come_in_the_order_of_the_networks(self):
        # As in a chain: an artifact keeps them by number.
        for inverse in (False, True):
            bijector = layers_of(self.orders, 5, "float32", inverse)
            expected = [w for layer in bijector.layers for w in layer.network.weights]
            assert [id(w) for w in weights_of(Chain([bijector]))] == [id(w) for w in expected]

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ({"hidden_units": (20,)}, "hidden_units, degrees"),
            ({"activation": "relu"}, "activation"),
            ({"hidden_degrees": "random"}, "hidden_degrees, degrees"),
        ],
    )
    def test_networks_of_other_layouts_are_refused(self, change, names):
        made = {"params_size": 2, "hidden_units": (20, 20), "activation": "tanh"}
        with pytest.raises(ValueError, match=rf"weights and input order alone\. Received: MADEs of several {names}$"):
            MaskedAutoregressiveLayers([MADE((4,), **made), MADE((4,), **{**made, **change})])

    @pytest.mark.parametrize(
        ("networks", "received"), [([], "[]"), ([DenseNetwork(2, 4, hidden_units=(8,))], "['DenseNetwork']")]
    )
    def test_other_networks_are_refused(self, networks, received):
        with pytest.raises(ValueError, match=re.escape(f"must be one or more MADEs. Received: {received}")):
            MaskedAutoregressiveLayers(networks)


class TestMaskedAutoregressiveLayersWithCondition(BijectorContract):
    size, condition_shape = 3, (3,)
    noise_values = TestMaskedAutoregressiveLayers.noise_values

    def make(self, dtype):
        return layers_of(("left-to-right", "right-to-left"), self.size, dtype, condition_shape=(3,))


class TestMaskedAutoregressiveLayersInverse(BijectorContract):
    size = 3
    data_values = (0.0, 1e-6, -1e-6, 1.0, 3.0, -3.0)  # As for Invert.

    def make(self, dtype):
        return layers_of(("left-to-right", "right-to-left"), self.size, dtype, inverse=True)


class TestCoupling(BijectorContract):
    size = 5

    def make(self, dtype):
        return randomize(
            Coupling(DenseNetwork(2, 6, hidden_units=(16,), activation="tanh", dtype=dtype), Affine(), np.arange(5) < 2)
        )

    def test_formula_by_hand(self):
        network = DenseNetwork(1, 2, hidden_units=(1,), dtype="float64")
        for weight, value in zip(network.weights, ([[2.0]], [0.5], [[3.0, -1.0]], [0.1, 0.2]), strict=True):
            weight.assign(value)
        x, log_det = Coupling(network, Affine(), np.array([True, False])).forward_and_log_det(
            tf.constant([[1.0, 4.0]], tf.float64)
        )
        h = 2.5
        r = -h + 0.2
        a = r / (1 + abs(r) / 7)
        np.testing.assert_allclose(x[0], [1.0, 4.0 * np.exp(a) + 3 * h + 0.1], rtol=1e-13)
        np.testing.assert_allclose(log_det[0], a, rtol=1e-13)


class TestCouplingWithCondition(BijectorContract):
    size = 4
    condition_shape = (3,)

    def make(self, dtype):
        network = DenseNetwork(2, 4, hidden_units=(16, 16), residual=True, activation="tanh", condition_shape=(3,), dtype=dtype)
        return randomize(Coupling(network, Affine(), np.array([False, True, False, True]), condition_shape=(3,)))


class TestCouplingOfImages(BijectorContract):
    """A checkerboard over [2, 2, 1]: the network sees the image with zeros where it is False."""

    def make(self, dtype):
        mask = np.array([[True, False], [False, True]])[..., None]
        coupling = Coupling(PerPixel(dtype=dtype), Affine(), mask)
        randomize(coupling)
        return AsVector(coupling, (2, 2, 1), (2, 2, 1))


class PerPixel(keras.layers.Layer):
    """[n, *event] -> [n, *event, 2], by one dense layer over all of the event."""

    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2 * size, activation="tanh", dtype=self.dtype_policy)
        self.dense.build((None, size))
        self.built = True

    def call(self, x):
        return keras.ops.reshape(self.dense(keras.ops.reshape(x, (-1, self.dense.kernel.shape[0]))), (-1, *x.shape[1:], 2))


class AsVector(tfdgm.bijectors.Bijector):
    """A bijector over images as one over vectors of 4."""

    def __init__(self, bijector, shape, latent_shape):
        super().__init__(event_shape=(4,), dtype=bijector.dtype, name="as_vector")
        self.bijector, self.shapes = bijector, (shape, latent_shape)

    def forward_and_log_det(self, z, condition=None):
        return self._apply(self.bijector.forward_and_log_det, z, self.shapes[1])

    def inverse_and_log_det(self, x, condition=None):
        return self._apply(self.bijector.inverse_and_log_det, x, self.shapes[0])

    def _apply(self, function, value, shape):
        moved, log_det = function(tf.reshape(value, tf.concat([tf.shape(value)[:-1], shape], axis=0)))
        return tf.reshape(moved, tf.shape(value)), log_det


class TestSqueeze(BijectorContract):
    has_weights = False

    def make(self, dtype):
        return AsVector(Squeeze(dtype=tf.as_dtype(dtype)), (2, 2, 1), (1, 1, 4))

    def test_formula(self):
        x = np.arange(24.0).reshape(1, 2, 4, 3)
        z, log_det = Squeeze().inverse_and_log_det(tf.constant(x))
        assert z.shape == (1, 1, 2, 12) and log_det.shape == (1,)
        for j, c, a, b in itertools.product(range(2), range(3), range(2), range(2)):
            assert z[0, 0, j, 4 * c + 2 * a + b] == x[0, a, 2 * j + b, c]

    def test_shapes(self):
        bijector = Squeeze()
        assert bijector.latent_shape((32, 16, 3)) == (16, 8, 12) and bijector.data_shape((16, 8, 12)) == (32, 16, 3)
        assert bijector.inverse_event_shape([4, 4, 1]) == (2, 2, 4) and bijector.forward_event_shape([2, 2, 4]) == (4, 4, 1)
        for shape, said in (((3, 2, 1), "even height and width"), ((4, 4), "3 axes or more")):
            with pytest.raises(ValueError, match=said):
                bijector.latent_shape(shape)


class TestShapes:
    """Event axes on both sides, and what a chain says of parts that do not fit."""

    def parts(self):
        coupling = Coupling(PerPixel(8, dtype="float64"), Affine(), np.arange(8).reshape(1, 2, 4) % 2 == 0)
        return [ActNorm(1, dtype="float64"), Squeeze(dtype=tf.float64), coupling, ActNorm(4, dtype="float64")]

    @pytest.mark.usefixtures("eagerly")
    def test_a_flow_over_images_that_change_their_shape(self):
        chain = Chain([*self.parts(), Invert(Squeeze(dtype=tf.float64)), Squeeze(dtype=tf.float64)], event_shape=(2, 4, 1))
        randomize(chain)
        assert chain.latent_shape((2, 4, 1)) == (1, 2, 4) and chain.data_shape((1, 2, 4)) == (2, 4, 1)
        flow = tfdgm.distributions.Flow(chain, (2, 4, 1), dtype=tf.float64)
        assert flow.base.event_shape == flow.latent_shape == (1, 2, 4)
        x = np.random.default_rng(0).normal(size=(3, 8))

        def to_z(rows):
            z, log_det = flow.to_base(tf.reshape(rows, (-1, 2, 4, 1)))
            return tf.reshape(z, (-1, 8)), log_det

        def to_x(rows):
            x, log_det = flow.from_base_and_log_det(tf.reshape(rows, (-1, 1, 2, 4)))
            return tf.reshape(x, (-1, 8)), log_det

        passes(bijector_checks.round_trip("x", to_z, to_x, x, 1e-12))
        passes(bijector_checks.round_trip("z", to_x, to_z, x, 1e-12))
        passes(bijector_checks.log_det_against_autodiff("x -> z", to_z, x, 1e-12))
        passes(bijector_checks.log_det_against_autodiff("z -> x", to_x, x, 1e-12))
        # Stock TFP agrees, and sums over the axes that it is asked for.
        z, log_det = to_z(tf.constant(x))
        normal = tfd.Normal(tf.zeros([], tf.float64), 1.0)
        stock = tfd.TransformedDistribution(tfd.Sample(normal, (1, 2, 4)), chain)
        assert stock.event_shape == (2, 4, 1)
        expected = tf.reduce_sum(normal.log_prob(z), axis=1) + log_det
        np.testing.assert_allclose(stock.log_prob(x.reshape(3, 2, 4, 1)), expected, rtol=1e-12)

    @pytest.mark.slow
    def test_flows_with_another_shape_of_z_are_served(self, tmp_path):
        flow = tfdgm.distributions.Flow(randomize(Chain(self.parts())), (2, 4, 1), dtype=tf.float64)
        model = tfdgm.DensityModel.from_distribution(flow)
        x = model.sample(3, seed=0)
        assert x.shape == (3, 2, 4, 1)
        model.export(tmp_path / "1")
        served = tf.saved_model.load(str(tmp_path / "1")).signatures
        encoded = served["encode"](x=x)
        assert encoded["z"].shape == (3, 1, 2, 4)
        np.testing.assert_allclose(served["decode"](z=encoded["z"])["x"], x, rtol=1e-10)
        report = tfdgm.verify(model, x.numpy(), artifact=False)
        assert report.passed and report["log-det z -> x = autodiff"].passed, str(report)

    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            (lambda: [ActNorm(1), Squeeze(), ActNorm(3, name="three")], "three takes events of shape (3,). Received: (1, 2, 4)"),
            (lambda: [Squeeze(), Squeeze(name="again")], "again takes images of even height and width. Received: (1, 2, 4)"),
            (lambda: [Permute([1, 0], name="swap")], "swap takes events of shape (2,). Received: (2, 4, 1)"),
        ],
    )
    def test_parts_that_do_not_fit(self, parts, said):
        for build in (
            lambda: Chain(parts(), event_shape=(2, 4, 1)),
            lambda: tfdgm.distributions.Flow(Chain(parts(), event_ndims=3), (2, 4, 1)),
        ):
            with pytest.raises(ValueError, match=re.escape(said)):
                build()

    def test_a_base_of_another_shape(self):
        base = tfd.MultivariateNormalDiag(tf.zeros(5))
        with pytest.raises(ValueError, match=re.escape("`base` must have event_shape (4,). Received: (5,)")):
            tfdgm.distributions.Flow(ActNorm(4), (4,), base=base)


class TestParametric(BijectorContract):
    def make(self, dtype):
        return randomize(Parametric(Affine(), (self.size,), dtype=dtype))


class TestParametricWithCondition(BijectorContract):
    condition_shape = (3,)

    def make(self, dtype):
        return randomize(Parametric(Affine(), (self.size,), condition_shape=(3,), dtype=dtype))


class TestPermute(BijectorContract):
    has_weights = False

    def make(self, dtype):
        return Permute([2, 0, 3, 1], dtype=tf.as_dtype(dtype))

    def test_formula(self):
        x = Permute([2, 0, 1]).forward(tf.constant([10.0, 11.0, 12.0]))
        np.testing.assert_array_equal(x, [12.0, 10.0, 11.0])

    def test_not_a_permutation(self):
        with pytest.raises(ValueError, match="each of 0"):
            Permute([0, 0, 2])


class TestScaledSigmoid(BijectorContract):
    has_weights = False
    data_range = (0.0, 17.0)
    data_values = (0.0, 1e-6, 1e-3, 8.5, 17.0 - 1e-5, 17.0)

    def make(self, dtype):
        return ScaledSigmoid(17, dtype=tf.as_dtype(dtype))

    def test_range(self):
        bijector = ScaledSigmoid(17, alpha=0.05)
        ends = bijector.inverse(tf.constant([0.0, 17.0])).numpy()
        np.testing.assert_allclose(ends, [np.log(0.05 / 0.95), np.log(0.95 / 0.05)], rtol=1e-5)

    def test_outside_the_range_the_density_is_zero_and_gradients_are_finite(self):
        x = tf.constant([[8.0, -1e6], [8.0, -1.0], [18.0, 8.0], [1e6, 8.0], [8.0, 8.0]])
        with tf.GradientTape() as tape:
            tape.watch(x)
            z, log_det = ScaledSigmoid(17).inverse_and_log_det(x)
            total = tf.reduce_sum(z) + tf.reduce_sum(log_det)
        np.testing.assert_array_equal(np.isfinite(log_det), [False, False, False, False, True])
        assert (log_det.numpy()[:4] == -np.inf).all()
        assert np.isfinite(z).all()
        assert np.isfinite(tape.gradient(total, x)).all()

    def test_close_to_the_ends_of_its_range(self):
        z = np.array([[-20.0], [-14.0], [-8.0], [14.0], [20.0]])
        p = scipy.special.expit(z)
        back, log_det = ScaledSigmoid(17, dtype=tf.float64).inverse_and_log_det(17 * (p - 0.05) / 0.9)
        np.testing.assert_allclose(back, z, rtol=1e-7)
        expected = np.log(17 / 0.9) + scipy.special.log_expit(z) + scipy.special.log_expit(-z)
        np.testing.assert_allclose(-log_det, expected[:, 0], rtol=1e-7)

    def test_total_mass_of_a_flow(self):
        flow = tfdgm.distributions.Flow(ScaledSigmoid(4, dtype=tf.float64), (1,), dtype=tf.float64)
        samples = flow.sample(2000, seed=1).numpy()
        passes(density_checks.total_mass("mass", flow.log_prob, samples, 1e-3))


class TestInvert(BijectorContract):
    # x is here the side from which the network reads, so a large x is scaled up by as much as exp(7) and comes back less exact.
    data_values = (0.0, 1e-6, -1e-6, 1.0, 6.0, -6.0)

    def make(self, dtype):
        network = MADE((self.size,), params_size=2, hidden_units=(16,), activation="tanh", dtype=dtype)
        return randomize(Invert(MaskedAutoregressive(network)))

    def test_exchanges_the_directions(self):
        bijector, x = self.make("float64"), tf.constant(self.ordinary_x("float64"))
        np.testing.assert_array_equal(bijector.inverse(x), bijector.bijector.forward(x))
        np.testing.assert_array_equal(bijector.forward(x), bijector.bijector.inverse(x))

    def test_of_a_stock_bijector(self):
        x = tf.constant(self.ordinary_x("float64"))
        z, log_det = Invert(tfb.ScaleMatvecTriL(tf.eye(4, dtype=tf.float64) * 2)).inverse_and_log_det(x)
        np.testing.assert_allclose(z, 2 * x)
        np.testing.assert_allclose(log_det, np.full(len(x), 4 * np.log(2)))


class TestChain(BijectorContract):
    noise_values = (0.0, 1e-6, -1e-6, 1.0, 3.0, -3.0)

    def make(self, dtype):
        policy = {"activation": "tanh", "dtype": dtype}
        made = {"params_size": 2, "hidden_units": (8,), **policy}
        bijectors = [
            ActNorm(4, dtype=dtype),
            MaskedAutoregressive(MADE((4,), input_order="right-to-left", **made)),
            Permute([1, 3, 0, 2]),
            Coupling(DenseNetwork(2, 4, hidden_units=(8,), **policy), Affine(), np.arange(4) < 2),
            tfb.Shift(tf.constant([1.0, 2.0, 3.0, 4.0], dtype)),  # A stock one among ours.
        ]
        return randomize(Chain(bijectors, dtype=tf.as_dtype(dtype)), scale=0.7)

    def test_each_network_runs_once(self):
        calls = []

        class Counting(keras.layers.Layer):
            def call(self, x):
                calls.append(1)
                return tf.concat([x, x], axis=-1)

        chain = Chain([Coupling(Counting(), Affine(), np.arange(4) < 2), Permute([3, 2, 1, 0])])
        chain.inverse_and_log_det(tf.zeros((2, 4)))
        chain.forward_and_log_det(tf.zeros((2, 4)))
        assert len(calls) == 2

    def test_order_is_that_of_tfp(self):
        ours = Chain([ActNorm(4), Permute([1, 2, 3, 0])])
        ours.bijectors[0].shift_and_log_scale.b.assign([1.0, 2, 3, 4])
        x = tf.constant([[10.0, 20, 30, 40]])
        np.testing.assert_array_equal(ours.forward(x), tfb.Chain(ours.bijectors).forward(x))
        np.testing.assert_array_equal(ours.forward(x), [[21.0, 32, 43, 14]])

    def test_of_nothing_is_the_identity(self):
        x = tf.constant(self.ordinary_x("float64"))
        for method in (Chain([]).inverse_and_log_det, Chain([]).forward_and_log_det):
            value, log_det = method(x)
            np.testing.assert_array_equal(value, x)
            np.testing.assert_array_equal(log_det, np.zeros(len(x)))

    def test_adapt_goes_through_the_chain_from_the_data(self):
        x = np.random.default_rng(0).normal(size=(200, 4)) * 7 + 3
        chain = Chain([ActNorm(4, dtype="float64"), self.make("float64").bijectors[1], ActNorm(4, dtype="float64")])
        chain.adapt(tf.constant(x))
        z = chain.inverse(tf.constant(x)).numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)

    def test_parts_over_fewer_axes_count_along_the_others(self):
        # Images [height, width, channels]: ActNorm over channels at every pixel, a permutation of them, an elementwise map.
        event, random = (2, 3, 4), np.random.default_rng(0)
        chain = Chain(
            [
                ScaledSigmoid(17, dtype=tf.float64),
                randomize(ActNorm(4, dtype="float64")),
                Permute([2, 0, 3, 1]),
                Invert(randomize(ActNorm(4, dtype="float64"), seed=1)),
                tfb.Scale(tf.constant(0.7, tf.float64)),
                self.make("float64"),
            ],
            event_ndims=3,
        )
        assert chain.forward_min_event_ndims == 3 and chain.dtype == tf.float64
        x, z = random.uniform(1, 16, (3, *event)), random.normal(size=(3, *event))
        for name, rows, method in (("x", x, chain.inverse_and_log_det), ("z", z, chain.forward_and_log_det)):

            def flat(rows, method=method):
                value, log_det = method(tf.reshape(rows, (-1, *event)))
                return tf.reshape(value, (-1, 24)), log_det

            passes(bijector_checks.log_det_against_autodiff(name, flat, rows.reshape(3, 24), 1e-8))

        flow = tfdgm.distributions.Flow(chain, event, dtype=tf.float64)
        z, log_det = chain.inverse_and_log_det(tf.constant(x))
        assert log_det.shape == (3,)
        expected = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1), event).log_prob(z) + log_det
        np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-12)
        flow.adapt(tf.constant(x))
        np.testing.assert_allclose(chain.bijectors[1].inverse(chain.bijectors[0].inverse(x)).numpy().std((0, 1, 2)), 1)

    def test_event_ndims_are_those_of_the_part_that_needs_most(self):
        image = Chain([ActNorm(2)], event_ndims=3)
        for chain, expected in (
            (Chain([tfb.Exp()]), 1),
            (Chain([ActNorm(2), image]), 3),
            (Chain([Invert(image), tfb.Exp()]), 3),
            (Chain([Permute([1, 0]), tfb.ScaleMatvecTriL(tf.eye(2))], event_ndims=2), 2),
        ):
            assert chain.forward_min_event_ndims == chain.inverse_min_event_ndims == expected
            _, log_det = chain.forward_and_log_det(tf.ones((5, 4, 3, 2)))
            assert log_det.shape == (5, 4, 3)[: 4 - expected]
        with pytest.raises(ValueError, match=r"at least 3 for these bijectors. Received: event_ndims=1"):
            Chain([image], event_ndims=1)

    def test_dtype_is_that_of_the_parts(self):
        assert Chain([Permute([0]), ActNorm(1, dtype="float64"), tfb.Scale(tf.constant(2.0, tf.float64))]).dtype == tf.float64
        assert Chain([Permute([0])]).dtype is None
        with pytest.raises(ValueError, match=r"share one dtype. Received: float32 of act_norm and float64 of scale"):
            Chain([ActNorm(1), tfb.Scale(tf.constant(2.0, tf.float64))])


def standardizing(name):
    """A bijector over 4 dimensions that holds ActNorms, one of them seen from its other side."""
    act_norm, rotate = (lambda: ActNorm(4, dtype="float64")), Permute([1, 2, 3, 0])
    return {
        "inverted": lambda: Invert(act_norm()),
        "inverted twice": lambda: Invert(Invert(act_norm())),
        "inverted chain": lambda: Invert(Chain([act_norm(), rotate, tfb.Scale(tf.constant(3.0, tf.float64))])),
        "inverted inside a chain": lambda: Chain([rotate, tfb.Exp(), Invert(act_norm())]),
        "inverted chain with one inverted": lambda: Invert(Chain([Invert(act_norm()), tfb.Exp(), act_norm()])),
    }[name]()


class TestAdapt:
    @pytest.mark.parametrize(
        "name",
        ["inverted", "inverted twice", "inverted chain", "inverted inside a chain", "inverted chain with one inverted"],
    )
    def test_z_has_mean_0_and_variance_1(self, name):
        x = tf.exp(tf.constant(np.random.default_rng(0).normal(size=(200, 4)))) + 2
        bijector = standardizing(name)
        bijector.adapt(x)
        z = bijector.inverse(x).numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)


def coupling(condition_shape=None, name="coupling"):
    network = DenseNetwork(1, 2, hidden_units=(4,), condition_shape=condition_shape)
    return randomize(Coupling(network, Affine(), np.array([True, False]), condition_shape=condition_shape, name=name), scale=2.0)


def made_layers(cls, **changes):
    network = MADE((2,), params_size=2, hidden_units=(4,), **changes)
    return cls([network]) if cls is MaskedAutoregressiveLayers else cls(network)


class TestConditions:
    TAKE_NONE = {
        "ActNorm": lambda: ActNorm(2),
        "Permute": lambda: Permute([1, 0]),
        "ScaledSigmoid": lambda: ScaledSigmoid(3),
        "Coupling": coupling,
        "MaskedAutoregressive": lambda: made_layers(MaskedAutoregressive),
        "MaskedAutoregressiveLayers": lambda: made_layers(MaskedAutoregressiveLayers),
        "Chain": lambda: Chain([ActNorm(2), coupling(), tfb.Exp()]),
        "Invert": lambda: Invert(ActNorm(2)),
        "Invert of a stock one": lambda: Invert(tfb.Exp()),
        "Invert of a Chain": lambda: Invert(Chain([ActNorm(2)])),
    }

    @pytest.mark.usefixtures("eagerly")
    @pytest.mark.parametrize("make", TAKE_NONE.values(), ids=TAKE_NONE)
    def test_one_that_nobody_takes_is_an_error(self, make):
        bijector, x, c = make(), tf.fill([3, 2], 0.5), tf.zeros((3, 1))
        for name in ("forward", "inverse", "forward_log_det_jacobian", "inverse_log_det_jacobian"):
            with pytest.raises(ValueError, match=r"takes no `condition` \(condition_shape=None\). Received one."):
                getattr(bijector, name)(x, condition=c)
        for method in (bijector.forward_and_log_det, bijector.inverse_and_log_det):
            with pytest.raises(ValueError, match=r"takes no `condition` \(condition_shape=None\). Received one."):
                method(x, c)
        # What a flow passes to its bijector and its base, whichever takes it.
        np.testing.assert_array_equal(inverse_and_log_det(bijector, x, c)[0], bijector.inverse(x))
        np.testing.assert_array_equal(forward_and_log_det(bijector, x, c)[0], bijector.forward(x))

    @pytest.mark.parametrize("wrap", [lambda b: b, Invert, lambda b: Chain([tfb.Exp(), Invert(b)]), lambda b: Invert(Invert(b))])
    def test_a_chain_gives_it_to_the_parts_that_take_one(self, wrap):
        chain = Chain([ActNorm(2), coupling((3,)), tfb.Scale(2.0), Permute([1, 0])])
        bijector, z = wrap(chain), tf.fill([4, 2], 0.3)
        assert bijector.condition_shape == (3,)
        outcomes = [bijector.forward_and_log_det(z, tf.fill([3], value)) for value in (0.0, 1.0)]
        assert (outcomes[0][0].numpy() != outcomes[1][0].numpy()).any()
        c = tf.fill([3], 1.0)
        x, log_det = outcomes[1]
        back, log_det_back = bijector.inverse_and_log_det(x, c)
        np.testing.assert_allclose(back, z, rtol=1e-4)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(bijector.forward(z, condition=c), x)
        bijector.adapt(tf.random.stateless_uniform((20, 2), (0, 0), 1, 2), tf.fill([3], 1.0))
        with pytest.raises(ValueError, match=r"needs a `condition`"):
            bijector.forward(z)

    def test_a_chain_takes_one_shape(self):
        with pytest.raises(ValueError, match=r"share one condition_shape. Received: \(3,\) of first and \(2,\) of second"):
            Chain([coupling((3,), name="first"), ActNorm(2), coupling((2,), name="second")])
        with pytest.raises(ValueError, match=r"share one condition_shape. Received: \(3,\) of coupling and \(2,\) of"):
            Chain([coupling((3,)), Chain([coupling((2,))])])


class TestStockBijectorsInFlows:
    def test_chain_of_stock_bijectors_sums_elementwise_log_dets(self):
        chain = Chain([tfb.Scale(tf.constant(2.0, tf.float64)), tfb.Softplus()])
        flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64)), tfb.Chain(chain.bijectors))
        x = tf.constant([[0.5, 1.0, 7.0]], tf.float64)
        z, log_det = chain.inverse_and_log_det(x)
        base = tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64))
        np.testing.assert_allclose(base.log_prob(z) + log_det, flow.log_prob(x), rtol=1e-12)

    def test_the_checks_do_see_a_wrong_log_det(self):
        # What the contract rests on: a bijector whose log-det is off must not pass.
        class Wrong(ActNorm):
            def inverse_and_log_det(self, x, condition=None):
                z, log_det = super().inverse_and_log_det(x)
                return z, log_det + 1e-4

        bijector = randomize(Wrong(3, dtype="float64"))
        x = np.random.default_rng(0).normal(size=(4, 3))
        check = bijector_checks.log_det_against_autodiff("wrong", bijector.inverse_and_log_det, x, 1e-8)
        assert check.passed is False
        check = bijector_checks.log_dets_opposite("wrong", bijector.inverse_and_log_det, bijector.forward_and_log_det, x, 1e-8)
        assert check.passed is False
        passes(bijector_checks.round_trip("fine", bijector.inverse_and_log_det, bijector.forward_and_log_det, x, 1e-10))
