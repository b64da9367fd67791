import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract

from tfdgm.networks import PixelCNN


class TestPixelCNN(NetworkContract):
    cls = PixelCNN
    # tanh, so that no unit is dead.
    base = {
        "event_shape": (4, 5),
        "filters": 12,
        "num_layers": 2,
        "first_kernel_size": 3,
        "head_filters": 6,
        "activation": "tanh",
    }
    configs = {
        "plain": {},
        "no blocks": {"num_layers": 0},
        "larger kernels": {"kernel_size": 5, "first_kernel_size": 7, "event_shape": (4, 6)},
        "condition": {"condition_shape": (3,)},
        "condition of two axes": {"condition_shape": (2, 2)},
        "one channel": {"event_shape": (3, 4, 1)},
        "three channels": {"event_shape": (3, 2, 3)},
        "three channels, condition": {"event_shape": (2, 3, 3), "condition_shape": (3,)},
        "one row": {"event_shape": (1, 6)},
        "one column": {"event_shape": (5, 1)},
        "one pixel": {"event_shape": (1, 1), "condition_shape": (2,)},
    }

    def connected(self, network):
        # What the masks of the paper let through, by composing them layer after layer.
        height, width, channels = network.height, network.width, network.num_channels
        size = height * width * channels

        def joined(kernel_size, mask_type):
            half, matrix = kernel_size // 2, np.zeros((size, size), bool)
            for t, s in np.ndindex(size, size):
                (i, j, c), (a, b, d) = (np.unravel_index(u, (height, width, channels)) for u in (t, s))
                earlier = (a, b) < (i, j) or ((a, b) == (i, j) and (d < c or (d == c and mask_type == "B")))
                matrix[s, t] = earlier and abs(a - i) <= half and abs(b - j) <= half
            return matrix

        reach = joined(network.first_kernel_size, "A")
        for _ in range(network.num_layers):
            reach = reach | (reach @ joined(network.kernel_size, "B"))
        return reach @ joined(1, "B")

    def test_blind_spot(self):
        # The gradient of one pixel's parameters in all inputs. 3 x 3 kernels see one column to the right a row up, however deep
        # the network is (Gated PixelCNN's figure 1).
        network = self.make(event_shape=(7, 9), num_layers=6)
        x = tf.constant(np.random.default_rng(0).normal(size=(1, 7, 9)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            params = tf.reduce_sum(network(x)[0, 5, 3])
        seen = tape.gradient(params, x).numpy()[0] != 0
        expected = np.zeros((7, 9), bool)
        expected[5, :3] = True
        for above in range(1, 6):
            expected[5 - above, : 3 + above + 1] = True
        np.testing.assert_array_equal(seen, expected)

    def test_state_holds_rows_only(self):
        # The state is as large for an image ten times as high.
        def sizes(height):
            return [t.shape for t in tf.nest.flatten(self.make(event_shape=(height, 5)).initial_state(3))]

        assert sizes(4) == sizes(40)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            ({"event_shape": (2, 0)}, r"Received: event_shape=\(2, 0\)"),
            ({"filters": 7}, r"`filters` must be a multiple of 2. Received: filters=7"),
            ({"event_shape": (2, 2, 3), "filters": 8}, r"`filters` must be a multiple of 6. Received: filters=8"),
            ({"kernel_size": 1}, r"`kernel_size` must be odd, and 3 or more. Received: kernel_size=1"),
            ({"first_kernel_size": 4}, r"`first_kernel_size` must be odd, and 3 or more. Received: first_kernel_size=4"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
