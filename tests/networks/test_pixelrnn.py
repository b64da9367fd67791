import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract

from tfdgm.networks import PixelRNN
from tfdgm.tasks import network_checks

SMALL = {"filters": 6, "num_layers": 2, "first_kernel_size": 3, "head_filters": 12}
CONFIGS = {
    "plain": {},
    "one layer": {"num_layers": 1},
    "condition": {"condition_shape": (3,), "event_shape": (3, 3)},
    "condition of two axes": {"condition_shape": (2, 2), "event_shape": (2, 3)},
    "one channel": {"event_shape": (3, 2, 1)},
    # Wide, so that not all of a colour's units in the head are dead in the first pixel.
    "three channels": {"event_shape": (3, 2, 3), "head_filters": 36},
    "three channels, condition": {"event_shape": (2, 3, 3), "head_filters": 36, "condition_shape": (3,)},
    "one row": {"event_shape": (1, 4)},
    "one column": {"event_shape": (4, 1)},
    "one pixel": {"event_shape": (1, 1), "condition_shape": (2,)},
}


class TestDiagonal(NetworkContract):
    cls = PixelRNN
    base = {**SMALL, "kind": "diagonal", "event_shape": (3, 4)}
    configs = CONFIGS
    generated_configs = ("condition", "three channels, condition")

    def test_sees_all_pixels_before(self):
        # One layer, on an image far larger than the first convolution: the gradient of one pixel's parameters in all inputs.
        network = self.make(event_shape=(7, 9), num_layers=1)
        rows, columns = np.indices((7, 9))
        np.testing.assert_array_equal(seen_from(network, 4, 3), (rows < 4) | ((rows == 4) & (columns < 3)))

    def test_state_holds_rows_only(self):
        assert state_sizes(self.make(event_shape=(4, 5))) == state_sizes(self.make(event_shape=(40, 5)))

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            ({"kind": "column"}, r"`kind` must be 'row' or 'diagonal'. Received: kind='column'"),
            ({"num_layers": 0}, r"`num_layers` must be an integer, 1 or more. Received: num_layers=0"),
            ({"event_shape": (2, 2, 3), "filters": 8}, r"multiple of the 3 channels. Received: filters=8"),
            ({"kernel_size": 2}, r"`kernel_size` must be odd, and 3 or more. Received: kernel_size=2"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)


class TestRow(NetworkContract):
    cls = PixelRNN
    # Of reach at least the image's width, so that every pixel sees all before it.
    base = {**SMALL, "kind": "row", "event_shape": (3, 4), "first_kernel_size": 7}
    configs = {**CONFIGS, "larger kernel": {"kernel_size": 5, "first_kernel_size": 5, "event_shape": (3, 3)}}
    generated_configs = ("condition", "three channels, condition")

    def test_sees_the_triangle_above(self):
        # A convolution of 3 x 3, then one LSTM of reach 1: d rows above, d columns to the right and 2 + d to the left.
        network = self.make(event_shape=(6, 15), num_layers=1, first_kernel_size=3)
        rows, columns = np.indices((6, 15))
        above, right = 5 - rows, columns - 8
        seen = np.where(above > 0, (-2 - above <= right) & (right <= above), (right >= -2) & (right < 0))
        np.testing.assert_array_equal(seen_from(network, 5, 8), seen)

    def test_state_holds_rows_only(self):
        assert state_sizes(self.make(event_shape=(4, 5))) == state_sizes(self.make(event_shape=(40, 5)))

    def test_the_check_does_see_a_leak(self):
        # Mask "B" in the first layer joins each pixel to itself.
        network, leaky = self.make(), self.make()
        leaky.first = type(leaky.first)(1, 12, 3, mask_type="B", dtype="float64")
        assert network_checks.mask_leaks("leak", network).passed
        assert network_checks.mask_leaks("leak", leaky).value == 12


def seen_from(network, i, j):
    """Which inputs the parameters at row i, column j have a gradient in."""
    x = tf.constant(np.random.default_rng(0).normal(size=(1, *network.event_shape)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        params = tf.reduce_sum(network(x)[0, i, j])
    return tape.gradient(params, x).numpy()[0] != 0


def state_sizes(network):
    return [t.shape for t in tf.nest.flatten(network.initial_state(3))]
