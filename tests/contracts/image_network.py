import contextlib
import functools

import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes
from contracts.network import generated
from contracts.weights import randomize

from tfdgm.layers import exporting
from tfdgm.tasks import network_checks


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
