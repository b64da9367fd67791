import contextlib
import re

import numpy as np
import pytest
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.stock import stock_autoregressive_flow
from contracts.weights import randomize, weights_of
from tensorflow_probability import bijectors as tfb

from tfdgm.bijectors import (
    Chain,
    Invert,
    MaskedAutoregressiveLayers,
)
from tfdgm.layers import exporting
from tfdgm.networks import MADE, DenseNetwork


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
    @pytest.mark.parametrize(
        ("size", "mode"), [(1, "model"), (2, "model"), (18, "model"), pytest.param(18, "exporting", marks=pytest.mark.slow)]
    )
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
        stock = tfb.Chain([stock_autoregressive_flow(layer.network) for layer in bijector.layers])
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
