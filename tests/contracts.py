"""What every bijector, network and model must show; each test file calls these with its own class."""

import contextlib
import dataclasses
import functools
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.bijectors import forward_and_log_det, inverse_and_log_det
from tfdgm.layers import exporting
from tfdgm.models.parts import layers_and_variables
from tfdgm.tasks import bijector_checks, density_checks, network_checks


def weights_of(module):
    """The trainable weights of a model, a layer, or what a tf.Module holds."""
    if isinstance(module, keras.layers.Layer):
        return module.trainable_weights
    parts = layers_and_variables(module)
    return [w for part in parts for w in ([part] if isinstance(part, keras.Variable) else part.trainable_weights)]


def randomize(module, seed=0, scale=1.0):
    """Draws all weights anew. Biases start at zero and output kernels near it, which would hide what they do."""
    random = np.random.default_rng(seed)
    for weight in weights_of(module):
        deviation = scale / math.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.3 * scale
        weight.assign(random.normal(size=weight.shape) * deviation)
    return module


def passes(check):
    """Asserts a `Check`, showing it when it fails; a skipped one fails too."""
    assert check.passed, check


def sums_to_1(log_prob, event_shape, levels, tolerance):
    """Asserts that the probabilities of all events of integers 0..levels-1 add up to 1."""
    events = np.array(list(itertools.product(range(levels), repeat=math.prod(event_shape))), np.int32)
    log_probs = density_checks.in_chunks(log_prob, events.reshape(-1, *event_shape))
    passes(density_checks.total_probability("sum", log_probs, tolerance))


def extreme_rows(size, values, dtype):
    """Rows that mix the given values: each value everywhere, and in every single place among ordinary numbers."""
    ordinary = np.random.default_rng(5).normal(size=(len(values), size))
    everywhere = np.repeat(np.asarray(values)[:, None], size, axis=1)
    mixed = ordinary.copy()
    for i, value in enumerate(values):
        mixed[i, i % size] = value
    return np.concatenate([everywhere, mixed, ordinary]).astype(dtype)


class BijectorContract:
    """Tests of one bijector over vectors; a subclass gives `make(dtype)`, with random weights."""

    size = 4
    condition_shape = None
    #: What x (the data side) and z are tried at, besides ordinary numbers.
    data_values = (0.0, 1e-6, -1e-6, 1e-3, 1.0, -30.0, 1e3, 1e6, -1e6)
    noise_values = (0.0, 1e-6, -1e-6, 1.0, 6.0, -6.0)
    #: Whether the map is defined at every real x; else rows are drawn within data_range.
    data_range = None
    has_weights = True

    def make(self, dtype):
        raise NotImplementedError

    def condition(self, dtype):
        return None if self.condition_shape is None else np.linspace(-1, 1, math.prod(self.condition_shape)).astype(dtype)

    def rows_of_x(self, dtype):
        rows = extreme_rows(self.size, self.data_values, dtype)
        return rows if self.data_range is None else np.clip(np.abs(rows), *self.data_range).astype(dtype)

    def rows_of_z(self, dtype):
        return extreme_rows(self.size, self.noise_values, dtype)

    def ordinary_x(self, dtype, n=6):
        low, high = self.data_range or (-2, 2)
        return np.random.default_rng(6).uniform(low, high, (n, self.size)).astype(dtype)

    def maps(self, bijector, dtype):
        condition = self.condition(dtype)
        return (
            lambda x: inverse_and_log_det(bijector, x, condition),
            lambda z: forward_and_log_det(bijector, z, condition),
        )

    def given(self, dtype):
        return {} if self.condition_shape is None else {"condition": self.condition(dtype)}

    # A float32 number keeps 7 digits; log-scales of a few units and a sum over the layers cost three of them.
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
    def test_round_trip(self, dtype, tolerance):
        to_z, to_x = self.maps(self.make(dtype), dtype)
        for name, there, back, rows in (("x", to_z, to_x, self.rows_of_x(dtype)), ("z", to_x, to_z, self.rows_of_z(dtype))):
            scale = 1 + np.abs(rows).max(axis=1, keepdims=True)
            passes(bijector_checks.round_trip(name, there, back, rows, tolerance, scale=scale))

    def test_log_det_is_that_of_the_autodiff_jacobian(self):
        to_z, to_x = self.maps(self.make("float64"), "float64")
        passes(bijector_checks.log_det_against_autodiff("x -> z", to_z, self.ordinary_x("float64"), 1e-8))
        passes(bijector_checks.log_det_against_autodiff("z -> x", to_x, self.rows_of_z("float64"), 1e-8))

    def test_log_dets_are_opposite(self):
        maps = self.maps(self.make("float64"), "float64")
        passes(bijector_checks.log_dets_opposite("x", *maps, self.ordinary_x("float64"), 1e-10))

    def test_tfp_methods_agree_with_the_fused_pair(self):
        bijector, given = self.make("float64"), self.given("float64")
        x = tf.constant(self.ordinary_x("float64"))
        z, inverse_log_det = bijector.inverse_and_log_det(x, **given)
        again, forward_log_det = bijector.forward_and_log_det(z, **given)
        for ours, theirs in (
            (bijector.inverse(x, **given), z),
            (bijector.forward(z, **given), again),
            (bijector.inverse_log_det_jacobian(x, event_ndims=1, **given), inverse_log_det),
            (bijector.forward_log_det_jacobian(z, event_ndims=1, **given), forward_log_det),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        summed = bijector.inverse_log_det_jacobian(x, event_ndims=2, **given)
        np.testing.assert_allclose(summed, np.sum(inverse_log_det), rtol=1e-12)

    def test_several_and_no_batch_axes(self):
        bijector, given = self.make("float64"), self.given("float64")
        x = self.ordinary_x("float64")
        z, log_det = bijector.inverse_and_log_det(tf.constant(x), **given)
        z_2, log_det_2 = bijector.inverse_and_log_det(tf.constant(x.reshape(2, 3, self.size)), **given)
        z_0, log_det_0 = bijector.inverse_and_log_det(tf.constant(x[0]), **given)
        np.testing.assert_allclose(z_2, np.reshape(z, (2, 3, self.size)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(log_det_2, np.reshape(log_det, (2, 3)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(z_0, z[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(log_det_0, log_det[0], rtol=1e-12, atol=1e-12)
        assert log_det_0.shape == ()

    @pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_graph_and_xla_give_the_same(self, jit_compile):
        to_z, to_x = self.maps(self.make("float64"), "float64")
        x = tf.constant(self.ordinary_x("float64"))
        for function in (to_z, to_x):
            compiled = tf.function(function, jit_compile=jit_compile, autograph=False)(x)
            for one, other in zip(function(x), compiled, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)

    def test_a_changed_weight_changes_the_score_of_the_same_tensor(self):
        if not self.has_weights:
            pytest.skip("no weights")
        bijector, given = self.make("float64"), self.given("float64")
        if given:
            bijector = _Given(bijector, **given)
        flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), self.size), bijector)
        x = tf.constant(self.ordinary_x("float64"))
        with tf.GradientTape() as tape:
            before = flow.log_prob(x)
            loss = -tf.reduce_mean(before)
        weights = weights_of(bijector)
        gradients = tape.gradient(loss, weights)
        assert all(gradient is not None for gradient in gradients)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_sub(0.01 * gradient)
        after = flow.log_prob(x)
        assert (np.abs(after - before) > 1e-6).all()
        np.testing.assert_allclose(after, flow.log_prob(tf.constant(x.numpy())), rtol=1e-13)

    def test_inside_stock_tfp(self):
        bijector = self.make("float64")
        if self.condition_shape is not None:
            bijector = _Given(bijector, **self.given("float64"))
        x = tf.constant(self.ordinary_x("float64"))
        z, log_det = bijector.inverse_and_log_det(x)

        inverted = tfb.Invert(bijector)
        np.testing.assert_allclose(inverted.forward(x), z, rtol=1e-12)
        np.testing.assert_allclose(inverted.forward_log_det_jacobian(x, event_ndims=1), log_det, rtol=1e-12, atol=1e-14)

        chain = tfb.Chain([bijector, tfb.Scale(tf.constant(2.0, tf.float64))])
        np.testing.assert_allclose(chain.inverse(x), z / 2, rtol=1e-12)
        expected = log_det - self.size * math.log(2)
        np.testing.assert_allclose(chain.inverse_log_det_jacobian(x, event_ndims=1), expected, rtol=1e-12)

        base = tfd.MultivariateNormalDiag(tf.zeros(self.size, tf.float64))
        flow = tfd.TransformedDistribution(base, bijector)
        np.testing.assert_allclose(flow.log_prob(x), base.log_prob(z) + log_det, rtol=1e-12)
        assert np.isfinite(flow.sample(3, seed=1)).all()

    def test_gradients_are_finite_at_extreme_inputs(self):
        bijector, given = self.make("float32"), self.given("float32")
        weights = weights_of(bijector)
        for method, rows in (
            (bijector.inverse_and_log_det, extreme_rows(self.size, self.data_values, "float32")),
            (bijector.forward_and_log_det, self.rows_of_z("float32")),
        ):
            x = tf.constant(rows)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value, log_det = method(x, **given)
                total = tf.reduce_sum(value) + tf.reduce_sum(log_det)
            for gradient in tape.gradient(total, [x, *weights]):
                assert gradient is not None
                assert np.isfinite(gradient).all()


class _Given(tfdgm.bijectors.Bijector):
    """A bijector under one fixed condition: stock TFP classes pass none on."""

    def __init__(self, bijector, condition):
        super().__init__(dtype=bijector.dtype, name="given")
        self.bijector, self.fixed = bijector, condition

    def forward_and_log_det(self, z, condition=None):
        return self.bijector.forward_and_log_det(z, self.fixed)

    def inverse_and_log_det(self, x, condition=None):
        return self.bijector.inverse_and_log_det(x, self.fixed)


def check_autoregressive(network, condition=None):
    """Exactly the outputs after an input in the order move with it; both ways of generating agree with `call` to 1e-10."""
    rank = np.argsort(network.order)
    moved = network_checks.connections(network, condition, rows=4)
    np.testing.assert_array_equal(moved, rank[None, :] > rank[:, None])
    for by_steps in (False, True):
        passes(network_checks.generation_equals_call("generate", network, condition, by_steps=by_steps, tolerance=1e-10))


def generated(network, *, by_steps, jit_compile, condition=None, n=3):
    """(x, params) of x_t = m_t + exp(tanh(r_t)) u_t on fixed noise u, where x_t depends on the position's number as well."""
    noise = tf.constant(np.random.default_rng(3).normal(size=(n, *network.event_shape)), network.compute_dtype)

    def emit(position, params, u):
        return params[:, 0] + tf.exp(tf.tanh(params[:, -1])) * u + 0.01 * tf.cast(position, params.dtype), [params]

    def run():
        generate = network.generate_by_steps if by_steps else network.generate
        x, [params] = generate(emit, noise, condition, output_shapes=[(network.params_size,)])
        return x, params

    return [value.numpy() for value in tf.function(run, jit_compile=jit_compile, autograph=False)()]


class ImageNetworkContract:
    """Tests of one network over images; a subclass gives `cls`, `base`, a small configuration, and `configs`, changes to it by
    name, in which "plain" is {} and "condition" has condition_shape (3,). Each test of `config_name` runs for all of them."""

    cls = None
    base = {}
    configs = {}
    #: Names of configs that are generated from under each mode of compilation.
    generated_configs = ("condition", "three channels")

    def make(self, name="plain", **changes):
        return randomize(self.cls(**{"params_size": 2, "dtype": "float64", **self.base, **self.configs[name], **changes}))

    def shared(self, name):
        """A network of a configuration that tests leave as it is."""
        return _shared(type(self), name)

    def condition_of(self, network, n):
        if network.condition_shape is None:
            return None
        return tf.constant(np.random.default_rng(4).normal(size=(n, *network.condition_shape)), network.compute_dtype)

    def connected(self, network):
        """[D, D] of bool: which inputs move which outputs. All that came before, unless the network sees less."""
        rank = np.argsort(network.order)
        return rank[None, :] > rank[:, None]

    @pytest.mark.usefixtures("eagerly")
    def test_outputs_move_with_exactly_what_they_may_see(self, config_name):
        network, connected = self.shared(config_name), self.connected
        condition, rank = self.condition_of(network, 1), np.argsort(network.order)
        assert (rank[None, :] > rank[:, None])[connected(network)].all()
        np.testing.assert_array_equal(network_checks.connections(network, condition, rows=4), connected(network))

    @pytest.mark.usefixtures("eagerly")
    def test_step_equals_call(self, config_name):
        network = self.shared(config_name)
        condition = self.condition_of(network, 1)
        for by_steps in (False, True):
            name = "by steps" if by_steps else "generate"
            passes(network_checks.generation_equals_call(name, network, condition, by_steps=by_steps, tolerance=1e-10))

    def test_condition_reaches_every_position_the_first_too(self):
        network = self.shared("condition")
        x = tf.zeros((2, *network.event_shape), tf.float64)
        params = network(x, condition=tf.constant([[0.0, 0, 0], [1, 2, 3]], tf.float64))
        assert (np.abs(params[0] - params[1]) > 1e-6).all()

    @pytest.mark.slow
    def test_against_the_naive_sampler(self):
        # One whole pass a position, as everyone else does it; against what each mode of compilation generates.
        for name in self.generated_configs:
            network = self.shared(name)
            condition = self.condition_of(network, 3)
            call = tf.function(network, autograph=False)
            noise = np.random.default_rng(3).normal(size=(3, *network.event_shape)).reshape(3, -1)
            x = np.zeros((3, network.event_size))
            for t in network.order:
                params = call(tf.constant(x.reshape(3, *network.event_shape)), condition=condition)
                params = params.numpy().reshape(3, network.event_size, -1)[:, t]
                x[:, t] = params[:, 0] + np.exp(np.tanh(params[:, -1])) * noise[:, t] + 0.01 * t
            for mode in ("exporting", *(["graph", "eager", "xla"] if name == self.generated_configs[0] else [])):
                tf.config.run_functions_eagerly(mode == "eager")
                try:
                    with exporting() if mode == "exporting" else contextlib.nullcontext():
                        result = generated(network, by_steps=False, jit_compile=mode == "xla", condition=condition)
                finally:
                    tf.config.run_functions_eagerly(False)
                np.testing.assert_allclose(result[0].reshape(3, -1), x, rtol=1e-10, atol=1e-10, err_msg=f"{name}, {mode}")

    @pytest.mark.usefixtures("eagerly")
    def test_float32_is_close_to_float64(self):
        network, low = self.make(), self.make(dtype="float32")
        low.set_weights(network.get_weights())
        x, _ = generated(network, by_steps=False, jit_compile=False)
        np.testing.assert_allclose(generated(low, by_steps=False, jit_compile=False)[0], x, rtol=1e-3, atol=1e-3)

    def test_from_config_is_the_same_network(self, config_name):
        network = self.shared(config_name)
        again = self.cls.from_config(network.get_config())
        again.set_weights(network.get_weights())
        x = tf.constant(np.random.default_rng(0).normal(size=(2, *network.event_shape)))
        condition = self.condition_of(network, 2)
        np.testing.assert_array_equal(again(x, condition=condition), network(x, condition=condition))

    def test_dropout_is_in_training_only(self):
        network = self.make(dropout=0.5)
        x = tf.ones((2, *network.event_shape), tf.float64)
        np.testing.assert_array_equal(network(x), network(x, training=False))
        assert (network(x, training=True).numpy() != network(x).numpy()).any()


@functools.cache
def _shared(contract, name):
    return contract().make(name)


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """A model of tiny size, made anew by `make()`, and data for it."""

    name: str
    cls: type
    config: dict
    x: np.ndarray
    condition: np.ndarray | None = None

    def make(self, *, seed=None, use_xla=False, **changes):
        """The model; with `seed`, of random weights. XLA takes seconds to compile, so only tests of XLA use it."""
        model = self.cls(**{**self.config, **changes})
        model.use_xla = use_xla
        if seed is not None:
            randomize(model, seed, scale=0.7)
            for layer in model._flatten_layers():
                if isinstance(layer, tfdgm.layers.MaskedDense):
                    layer.premask()  # As the export does: what cut connections hold is not part of the model.
        return model

    @property
    def given(self):
        return {} if self.condition is None else {"condition": self.condition}

    def first(self, n):
        """The first n rows, as arguments of log_prob."""
        return {"x": self.x[:n], **({} if self.condition is None else {"condition": self.condition[:n]})}


def _cases():
    random = np.random.default_rng(0)
    n = 48
    c = {"condition_shape": (2,)}
    real = (random.normal(size=(n, 3)) @ random.normal(size=(3, 3)) * [1, 3, 10] + [0, 5, -50]).astype("float32")
    condition = random.normal(size=(n, 2)).astype("float32")
    binary = random.integers(0, 2, (n, 2, 2))
    binary[:, 1, 1] = binary[:, 0, 0]
    larger = np.tile(binary, (1, 2, 2))
    levels = random.integers(0, 4, (n, 3))
    levels[:, 2] = levels[:, 0]  # Something to learn.
    small = {"hidden_units": (8, 8)}
    image = {"event_shape": (2, 2), "filters": 8, "num_layers": 1, "first_kernel_size": 3, "head_filters": 8}
    rgb = {**image, "event_shape": (1, 2, 3), "filters": 12, "head_filters": 12, "levels": 8, "num_components": 2}
    snail = {"event_shape": (2, 2), "filters": 8, "num_blocks": 1, "num_layers": 1, "key_size": 4}
    sizes = {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "feed_forward_size": 8}
    transformer = {"event_shape": (1, 2, 3), "levels": 8, "num_components": 2, **sizes}
    colours = np.repeat(random.integers(0, 8, (n, 1, 2, 1)), 3, axis=-1)
    multiscale = {"num_scales": 1, "filters": 8, "num_layers": 1, "base_layers": 1, "head_filters": 8}
    rgb_of_two_rows = {"event_shape": (2, 2, 3), "levels": 8, "num_components": 2}
    flow = {**small, "num_layers": 2, "activation": "tanh"}
    models = tfdgm.models
    return [
        ModelCase("made_binary", models.MADE, {"event_shape": (2, 2), **small}, binary),
        ModelCase("made_binary_condition", models.MADE, {"event_shape": (2, 2), **small, **c}, binary, condition),
        ModelCase("made_categorical", models.MADE, {"event_shape": (3,), "levels": 4, **small}, levels),
        ModelCase("made_real", models.MADE, {"event_shape": (3,), "levels": None, "num_components": 3, **small}, real),
        ModelCase("maf", models.MAF, {"event_shape": (3,), **flow}, real),
        ModelCase("maf_condition", models.MAF, {"event_shape": (3,), **flow, **c}, real, condition),
        ModelCase("maf_levels_act_norm", models.MAF, {"event_shape": (3,), **flow, "levels": 4, "act_norm": True}, levels),
        ModelCase("iaf", models.IAF, {"event_shape": (3,), **flow}, real),
        ModelCase("realnvp", models.RealNVP, {"event_shape": (3,), **flow}, real),
        ModelCase("realnvp_condition", models.RealNVP, {"event_shape": (3,), **flow, **c}, real, condition),
        ModelCase("realnvp_levels", models.RealNVP, {"event_shape": (3,), **flow, "levels": 4}, levels),
        ModelCase("pixelcnn_binary", models.PixelCNN, {**image, "activation": "tanh"}, binary),
        ModelCase("pixelcnn_condition", models.PixelCNN, {**image, "activation": "tanh", **c}, binary, condition),
        ModelCase("gated_pixelcnn", models.GatedPixelCNN, {**image, **c, "levels": 3}, binary + binary[:, ::-1], condition),
        ModelCase("pixelrnn_row", models.PixelRNN, {**image, "kind": "row"}, binary),
        ModelCase("pixelrnn_diagonal", models.PixelRNN, {**image, **c, "levels": 3}, binary + binary[:, ::-1], condition),
        ModelCase("pixelcnn_mixture_rgb", models.PixelCNN, {**rgb, "activation": "tanh"}, colours),
        ModelCase(
            "multiscale_pixelcnn", models.MultiscalePixelCNN, {"event_shape": (4, 4), **multiscale, **c}, larger, condition
        ),
        ModelCase("pixelsnail", models.PixelSNAIL, {**snail, **c, "levels": 3}, binary + binary[:, ::-1], condition),
        ModelCase("image_transformer_rgb", models.ImageTransformer, transformer, colours),
        ModelCase(
            "pixelcnn_plus_plus",
            models.PixelCNNPlusPlus,
            {**rgb_of_two_rows, **c, "filters": 4, "num_downsamplings": 1, "dropout": 0.0},
            np.repeat(colours, 2, axis=1),
            condition,
        ),
        ModelCase("gaussian_mixture", models.GaussianMixture, {"event_shape": (3,), "num_components": 2}, real),
    ]


CASES = {case.name: case for case in _cases()}


#: Plain cases, of which another case of the class is a variation, and a third takes no condition either.
PLAIN = ("made_binary", "maf", "realnvp", "pixelcnn_binary")


#: A model of each kind: what is asked of every model is asked of these without --all, too.
FAST = ("made_categorical", "maf_condition", "maf_levels_act_norm", "pixelcnn_condition", "gaussian_mixture")


def model_cases(*names, fast=None):
    """Parametrizes a test over the named cases; by default over all that show something of their own. With `fast`, those that it
    does not name are slow."""
    chosen = [CASES[name] for name in names or CASES if name in names or name not in PLAIN]
    slow = [[] if fast is None or case.name in fast else [pytest.mark.slow] for case in chosen]
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case.name, marks=marks) for case, marks in zip(chosen, slow, strict=True)]
    )
