import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract

from tfdgm.networks import GatedPixelCNN
from tfdgm.tasks import network_checks


class TestGatedPixelCNN(NetworkContract):
    cls = GatedPixelCNN
    base = {"event_shape": (4, 4), "filters": 12, "num_layers": 2, "first_kernel_size": 5, "head_filters": 24}
    # Of reach at least the image's width and height, so that every pixel sees all before it.
    configs = {
        "plain": {},
        "one layer": {"num_layers": 1, "first_kernel_size": 9},
        "condition": {"condition_shape": (3,), "event_shape": (3, 3)},
        "condition of two axes": {"condition_shape": (2, 2), "event_shape": (3, 3)},
        "one channel": {"event_shape": (3, 4, 1)},
        # Wide, so that not all of a colour's units are dead in the first pixel.
        "three channels": {"event_shape": (3, 2, 3), "filters": 36, "head_filters": 36},
        "three channels, condition": {"event_shape": (2, 3, 3), "condition_shape": (3,)},
        "one row": {"event_shape": (1, 4)},
        "one column": {"event_shape": (4, 1)},
        "one pixel": {"event_shape": (1, 1), "condition_shape": (2,)},
    }
    generated_configs = ("condition", "three channels, condition")

    @pytest.mark.parametrize(("kernel_size", "first_kernel_size", "reach"), [(3, 3, 3), (3, 7, 5), (5, 3, 5)])
    def test_no_blind_spot(self, kernel_size, first_kernel_size, reach):
        # The gradient of one pixel's parameters in all inputs: within reach it sees all pixels before it, and nothing else.
        sizes = {"kernel_size": kernel_size, "first_kernel_size": first_kernel_size}
        network = self.make(event_shape=(9, 13), num_layers=3, **sizes)
        x = tf.constant(np.random.default_rng(0).normal(size=(1, 9, 13)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            params = tf.reduce_sum(network(x)[0, 7, 6])
        seen = tape.gradient(params, x).numpy()[0] != 0
        rows, columns = np.indices((9, 13))
        near = (np.abs(rows - 7) <= reach) & (np.abs(columns - 6) <= reach)
        np.testing.assert_array_equal(seen, near & ((rows < 7) | ((rows == 7) & (columns < 6))))

    def test_the_check_does_see_a_leak(self):
        # Mask "B" in the first layer joins each pixel to itself.
        network, leaky = self.make(), self.make()
        leaky.horizontal[0] = type(leaky.horizontal[0])(1, 24, (1, 5), mask_type="B", dtype="float64")
        assert network_checks.mask_leaks("leak", network).passed
        assert network_checks.mask_leaks("leak", leaky).value == 16

    def test_state_holds_rows_only(self):
        # The state is as large for an image ten times as high.
        def sizes(height):
            return [t.shape for t in tf.nest.flatten(self.make(event_shape=(height, 5)).initial_state(3))]

        assert sizes(4) == sizes(40)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            ({"num_layers": 0}, r"`num_layers` must be an integer, 1 or more. Received: num_layers=0"),
            ({"event_shape": (2, 2, 3), "filters": 8}, r"multiple of the 3 channels. Received: filters=8"),
            ({"kernel_size": 1}, r"`kernel_size` must be odd, and 3 or more. Received: kernel_size=1"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
