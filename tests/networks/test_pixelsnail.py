import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract

from tfdgm.networks import PixelSNAIL


class TestPixelSNAIL(NetworkContract):
    cls = PixelSNAIL
    base = {"event_shape": (3, 3), "filters": 8, "num_blocks": 2, "num_layers": 1, "key_size": 3}
    configs = {
        "plain": {},
        "two layers": {"num_layers": 2, "num_blocks": 1},
        "condition": {"condition_shape": (3,), "event_shape": (3, 2), "num_blocks": 1},
        "three channels": {"event_shape": (3, 2, 3), "filters": 12, "num_blocks": 1},
        "three channels, condition": {"event_shape": (2, 2, 3), "condition_shape": (3,), "filters": 12, "num_blocks": 1},
        "one column": {"event_shape": (4, 1, 1)},
        "one pixel": {"event_shape": (1, 1), "condition_shape": (2, 2)},
    }
    generated_configs = ("condition", "three channels, condition")

    def test_against_the_formula(self):
        # One block written out in numpy, pixel after pixel, from the paper's figures.
        network = self.make(event_shape=(2, 3), num_blocks=1)
        x = np.random.default_rng(0).normal(size=(2, 3))
        residual, attention = network.blocks
        place = np.array([[[i / 2 - 0.5, j / 3 - 0.5] for j in range(3)] for i in range(2)])

        def convolved(layer, u, taps):
            y = np.zeros((2, 3, layer.filters)) + np.asarray(layer.bias)
            for i, j in np.ndindex(2, 3):
                for tap, (a, e) in enumerate(taps):
                    if 0 <= i + a < 2 and 0 <= j + e < 3:
                        y[i, j] += u[i + a, j + e] @ np.asarray(layer.kernel)[tap]
            return y

        def elu(u):
            return np.where(u > 0, u, np.exp(np.minimum(u, 0)) - 1)

        def gated(layer, h, taps=((0, 0),), a=None):
            y = convolved(layer.first, elu(h), taps)
            y = y if a is None else y + convolved(layer.link, elu(a), ((0, 0),))
            y = convolved(layer.second, elu(y), taps)
            k = y.shape[-1] // 2
            return h + y[..., :k] / (1 + np.exp(-y[..., k:]))

        h = convolved(network.first, x[..., None], ((-1, -1), (-1, 0), (-1, 1), (0, -1)))
        h = gated(residual, h, ((-1, -1), (-1, 0), (0, -1), (0, 0)))
        content = np.concatenate([x[..., None], h, place], axis=-1)
        key_value = convolved(attention.key_value, gated(attention.key_value_residual, content), ((0, 0),)).reshape(6, -1)
        query = gated(attention.query_residual, np.concatenate([h, place], axis=-1))
        query = convolved(attention.query, query, ((0, 0),)).reshape(6, -1)
        a = np.zeros((6, 4))
        for t in range(1, 6):
            weights = np.exp(key_value[:t, :3] @ query[t] / np.sqrt(3))
            a[t] = weights @ key_value[:t, 3:] / weights.sum()
        h = gated(attention.out, h, a=a.reshape(2, 3, 4))
        params = convolved(network.last, elu(h), ((0, 0),))
        np.testing.assert_allclose(network(tf.constant(x[None]))[0], params, rtol=1e-10, atol=1e-12)

    def test_gradients_are_finite(self):
        network = self.make(dtype="float32")
        x = tf.constant(100.0 * np.random.default_rng(0).normal(size=(2, 3, 3)), tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(x))
        gradients = tape.gradient(loss, network.trainable_weights)
        assert all(np.isfinite(gradient).all() and (gradient.numpy() != 0).any() for gradient in gradients)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            ({"num_blocks": 0}, r"`num_blocks` must be an integer, 1 or more. Received: num_blocks=0"),
            ({"num_layers": 0}, r"`num_layers` must be an integer, 1 or more. Received: num_layers=0"),
            ({"filters": 7}, r"`filters` must be a multiple of 2. Received: filters=7"),
            ({"event_shape": (2, 2, 3)}, r"`filters` must be a multiple of 6. Received: filters=8"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
