import contextlib
import functools

import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes
from contracts.weights import randomize

from tfdgm.layers import MaskedDense, exporting
from tfdgm.tasks import network_checks


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


class NetworkContract:
    """Tests of one autoregressive network; a subclass gives `cls`, `base`, a small configuration, and `configs`, changes to it by
    name, in which "plain" is {} and "condition" has condition_shape (3,). Each test of `config_name` runs for all of them."""

    cls = None
    base = {}
    configs = {}
    #: Names of configs that are generated from: the first in every mode of compilation, the others as in an export.
    generated_configs = ("condition", "three channels")
    #: In float64: of `step` against `call`, and of what is generated against the naive sampler. Of float32 against float64.
    step_tolerance, naive_tolerance, float32_tolerance = 1e-10, 1e-10, 1e-3
    has_dropout = True
    #: Name of the config that float32 and float64 generate from.
    float32_config = "plain"

    def pytest_generate_tests(self, metafunc):
        if "config_name" in metafunc.fixturenames:
            metafunc.parametrize("config_name", self.configs)

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
            passes(
                network_checks.generation_equals_call(name, network, condition, by_steps=by_steps, tolerance=self.step_tolerance)
            )

    def test_condition_reaches_every_position_the_first_too(self):
        network = self.shared("condition")
        x = tf.zeros((2, *network.event_shape), tf.float64)
        params = network(x, condition=tf.constant([[0.0, 0, 0], [1, 2, 3]], tf.float64))
        assert (np.abs(params[0] - params[1]) > 1e-6).all()

    @pytest.mark.parametrize(
        "mode", ["eager", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("graph", "xla", "exporting"))]
    )
    def test_against_the_naive_sampler(self, mode):
        for name in self.generated_configs if mode == "exporting" else self.generated_configs[:1]:
            network, (condition, x) = self.make(name), _generated_naively(type(self), name)
            for layer in network._flatten_layers():
                if mode == "exporting" and isinstance(layer, MaskedDense):
                    layer.premask()
            tf.config.run_functions_eagerly(mode == "eager")
            try:
                with exporting() if mode == "exporting" else contextlib.nullcontext():
                    result, _ = generated(network, by_steps=False, jit_compile=mode == "xla", condition=condition)
            finally:
                tf.config.run_functions_eagerly(False)
            tolerance = self.naive_tolerance
            np.testing.assert_allclose(result.reshape(x.shape), x, rtol=tolerance, atol=tolerance, err_msg=name)

    @pytest.mark.usefixtures("eagerly")
    def test_float32_is_close_to_float64(self):
        network, low = (self.make(self.float32_config, dtype=dtype) for dtype in ("float64", "float32"))
        low.set_weights(network.get_weights())
        x, _ = generated(network, by_steps=False, jit_compile=False)
        tolerance = {"rtol": self.float32_tolerance, "atol": self.float32_tolerance}
        np.testing.assert_allclose(generated(low, by_steps=False, jit_compile=False)[0], x, **tolerance)

    def test_from_config_is_the_same_network(self, config_name):
        network = self.shared(config_name)
        again = self.cls.from_config(network.get_config())
        again.set_weights(network.get_weights())
        x = tf.constant(np.random.default_rng(0).normal(size=(2, *network.event_shape)))
        condition = self.condition_of(network, 2)
        np.testing.assert_array_equal(again(x, condition=condition), network(x, condition=condition))

    def test_dropout_is_in_training_only(self):
        if not self.has_dropout:
            pytest.skip("no dropout")
        network = self.make(dropout=0.5)
        x = tf.ones((2, *network.event_shape), tf.float64)
        np.testing.assert_array_equal(network(x), network(x, training=False))
        assert (network(x, training=True).numpy() != network(x).numpy()).any()


@functools.cache
def _shared(contract, name):
    return contract().make(name)


@functools.cache
def _generated_naively(contract, name):
    """(condition, what `generated` must give [3, D]): one whole pass a position, as everyone else does it."""
    network = contract().shared(name)
    condition = contract().condition_of(network, 3)
    call = tf.function(network, autograph=False)
    noise = np.random.default_rng(3).normal(size=(3, *network.event_shape)).reshape(3, -1)
    x = np.zeros((3, network.event_size))
    for t in network.order:
        params = call(tf.constant(x.reshape(3, *network.event_shape)), condition=condition)
        params = params.numpy().reshape(3, network.event_size, -1)[:, t]
        x[:, t] = params[:, 0] + np.exp(np.tanh(params[:, -1])) * noise[:, t] + 0.01 * t
    return condition, x
