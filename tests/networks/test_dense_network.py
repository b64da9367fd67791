import numpy as np
import pytest
import tensorflow as tf
from contracts.weights import randomize

from tfdgm.networks import DenseNetwork


def make(**changes):
    config = {"hidden_units": (7, 7), "activation": "tanh", "dtype": "float64"}
    return randomize(DenseNetwork(3, 4, **{**config, **changes}))


class TestDenseNetwork:
    def test_formula(self):
        network = make(residual=True)
        k_1, b_1, k_2, b_2, k_3, b_3 = (np.asarray(weight) for weight in network.weights)
        x = np.random.default_rng(0).normal(size=(5, 3))
        h = np.tanh(x @ k_1 + b_1)  # The widths differ here, so nothing is added.
        h = h + np.tanh(h @ k_2 + b_2)
        np.testing.assert_allclose(network(x), h @ k_3 + b_3, rtol=1e-12)

    def test_condition_joins_at_the_input(self):
        network = make(condition_shape=(2, 1))
        k_1, b_1, k_2, b_2, k_3, b_3 = (np.asarray(weight) for weight in network.weights)
        x, c = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(5, 2, 1))
        h = np.tanh(np.tanh(np.concatenate([x, c[..., 0]], axis=1) @ k_1 + b_1) @ k_2 + b_2)
        np.testing.assert_allclose(network(x, condition=c), h @ k_3 + b_3, rtol=1e-12)

    def test_starts_near_zero(self):
        assert np.abs(DenseNetwork(3, 4)(np.ones((2, 3), "float32"))).max() < 0.05

    def test_dropout_is_in_training_only(self):
        network, x = make(dropout=0.5), tf.ones((2, 3), tf.float64)
        np.testing.assert_array_equal(network(x), network(x, training=False))
        assert (network(x, training=True).numpy() != network(x).numpy()).any()

    @pytest.mark.parametrize("changes", [{}, {"residual": True}, {"condition_shape": (2,)}, {"dropout": 0.2}])
    def test_config(self, changes):
        network = make(**changes)
        again = DenseNetwork.from_config(network.get_config())
        again.set_weights(network.get_weights())
        condition = {"condition": np.ones((2, 2))} if "condition_shape" in changes else {}
        np.testing.assert_array_equal(again(np.ones((2, 3)), **condition), network(np.ones((2, 3)), **condition))
        assert again.get_config() == network.get_config()
