import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract

from tfdgm.networks import ImageTransformer
from tfdgm.tasks import network_checks

LOCAL = {"block_length": 3, "memory_length": 2}


class TestImageTransformer(NetworkContract):
    cls = ImageTransformer
    base = {
        "event_shape": (3, 3),
        "hidden_size": 8,
        "num_layers": 1,
        "num_heads": 2,
        "head_size": 3,
        "feed_forward_size": 12,
        "block_length": None,
    }
    # Local attention of as many layers as let every position see all before it.
    configs = {
        "plain": {},
        "local": {**LOCAL, "num_layers": 3},
        "condition": {"condition_shape": (3,), "event_shape": (3, 2), "num_layers": 2},
        "condition of two axes": {"condition_shape": (2, 2), "event_shape": (2, 3)},
        "three channels": {"event_shape": (2, 2, 3), "num_layers": 2},
        "three channels, local": {"event_shape": (2, 2, 3), "num_layers": 4, "block_length": 4, "memory_length": 4},
        "one pixel": {"event_shape": (1, 1), "condition_shape": (2,)},
    }
    generated_configs = ("condition", "three channels, local")

    def test_memory_is_as_long_as_the_block_unless_told(self):
        network, same, shorter = (self.make(block_length=3, memory_length=length) for length in (None, 3, 1))
        x = np.random.default_rng(0).normal(size=(2, 3, 3))
        np.testing.assert_array_equal(network(x), same(x))
        assert (np.abs(network(x) - shorter(x)) > 1e-6).any()

    def test_against_the_formula(self):
        network = self.make()
        x = np.random.default_rng(0).normal(size=(3, 3))
        weights = [w.numpy() for w in network.embedding.weights]
        row, column, channel = (table.numpy() for table in network.places)
        before = np.concatenate([[0], x.reshape(-1)[:-1]])
        h = before[:, None] * weights[0] + weights[1] + (row[:, None] + column).reshape(9, 8) + channel

        def norm(layer, u):
            u = (u - u.mean(axis=-1, keepdims=True)) / np.sqrt(u.var(axis=-1, keepdims=True) + 1e-6)
            return u * layer.gamma.numpy() + layer.beta.numpy()

        def dense(layer, u):
            return u @ layer.kernel.numpy() + layer.bias.numpy()

        q, k, v = np.split(h @ network.query_key_value[0].kernel.numpy(), 3, axis=-1)
        a = np.zeros((9, 6))
        for t in range(9):
            for part in (slice(0, 3), slice(3, 6)):
                weight = np.exp(k[: t + 1, part] @ q[t, part] / np.sqrt(3))
                a[t, part] = weight @ v[: t + 1, part] / weight.sum()
        a = norm(network.norms[0][0], h + dense(network.join[0], a))
        h = norm(network.norms[0][1], a + dense(network.narrow[0], np.maximum(dense(network.widen[0], a), 0)))
        params = network(tf.constant(x[None])).numpy().reshape(9, 2)
        np.testing.assert_allclose(params, dense(network.head, h), rtol=1e-10, atol=1e-12)

    def test_local_attention_sees_its_block_and_the_memory_before(self):
        # Of one layer: position t sees x before each position from memory_length before its block up to itself.
        network = self.make(**LOCAL)
        moved = network_checks.connections(network, rows=4)
        s, t = np.indices((9, 9))
        np.testing.assert_array_equal(moved, (s < t) & (s + 1 >= t // 3 * 3 - 2))

    def test_state_of_local_attention_does_not_grow_with_the_height(self):
        def sizes(height):
            _, above, row = self.make(event_shape=(height, 5), **LOCAL).initial_state(3)
            return [t.shape for t in tf.nest.flatten((above, row))]

        assert sizes(4) == sizes(40)

    def test_gradients_are_finite(self):
        network = self.make(dtype="float32", **LOCAL)
        x = tf.constant(100.0 * np.random.default_rng(0).normal(size=(2, 3, 3)), tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(x) ** 2)
        gradients = tape.gradient(loss, network.trainable_weights)
        assert all(np.isfinite(gradient).all() and (gradient.numpy() != 0).any() for gradient in gradients)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            ({"num_layers": 0}, r"`num_layers` must be an integer, 1 or more. Received: num_layers=0"),
            ({"hidden_size": 0}, r"`hidden_size` must be an integer, 1 or more. Received: hidden_size=0"),
            ({"head_size": 0}, r"`head_size` must be an integer, 1 or more. Received: head_size=0"),
            ({"memory_length": 2}, r"comes with a `block_length`. Received: memory_length=2, block_length=None"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
