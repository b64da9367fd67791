import itertools

import numpy as np
import pytest
import tensorflow as tf
from contracts import check_autoregressive, generated, randomize

from tfdgm.layers import exporting
from tfdgm.networks import GatedPixelCNN
from tfdgm.tasks import network_checks

# Of reach at least the image's width and height, so that every pixel sees all before it.
CONFIGS = {
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
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name, **changes):
    config = {"event_shape": (4, 4), "params_size": 2, "filters": 12, "num_layers": 2, "first_kernel_size": 5}
    config = {**config, "head_filters": 24, "dtype": "float64", **CONFIGS[name], **changes}
    return randomize(GatedPixelCNN(**config))


def condition_of(network, n):
    if network.condition_shape is None:
        return None
    return tf.constant(np.random.default_rng(4).normal(size=(n, *network.condition_shape)), network.compute_dtype)


class TestAutoregressiveProperty:
    @every_config
    def test_all_that_came_before_and_step_equals_call(self, name):
        network = make(name)
        check_autoregressive(network, condition_of(network, 1))

    @pytest.mark.parametrize(("kernel_size", "first_kernel_size", "reach"), [(3, 3, 3), (3, 7, 5), (5, 3, 5)])
    def test_no_blind_spot(self, kernel_size, first_kernel_size, reach):
        # The gradient of one pixel's parameters in all inputs: within reach it sees all pixels before it, and nothing else.
        sizes = {"kernel_size": kernel_size, "first_kernel_size": first_kernel_size}
        network = make("plain", event_shape=(9, 13), num_layers=3, **sizes)
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
        network, leaky = make("plain"), make("plain")
        leaky.horizontal[0] = type(leaky.horizontal[0])(1, 24, (1, 5), mask_type="B", dtype="float64")
        assert network_checks.mask_leaks("leak", network).passed
        assert network_checks.mask_leaks("leak", leaky).value == 16

    def test_condition_reaches_every_position_the_first_too(self):
        network = make("condition")
        params = network(tf.zeros((2, 3, 3), tf.float64), condition=tf.constant([[0.0, 0, 0], [1, 2, 3]], tf.float64))
        assert (np.abs(params[0] - params[1]) > 1e-6).all()


class TestGeneration:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [*itertools.product(["condition", "three channels, condition"], ["graph", "exporting"]), ("condition", "xla")],
    )
    def test_against_the_naive_sampler(self, name, mode):
        # One whole pass a position, as everyone else does it.
        network = make(name)
        condition = condition_of(network, 3)
        noise = np.random.default_rng(3).normal(size=(3, *network.event_shape)).reshape(3, -1)
        x = np.zeros((3, network.event_size))
        for t in range(network.event_size):
            params = network(tf.constant(x.reshape(3, *network.event_shape)), condition=condition)
            params = params.numpy().reshape(3, network.event_size, -1)[:, t]
            x[:, t] = params[:, 0] + np.exp(np.tanh(params[:, 1])) * noise[:, t] + 0.01 * t
        if mode == "exporting":
            with exporting():
                result = generated(network, by_steps=False, jit_compile=False, condition=condition)
        else:
            result = generated(network, by_steps=False, jit_compile=mode == "xla", condition=condition)
        np.testing.assert_allclose(result[0].reshape(3, -1), x, rtol=1e-10, atol=1e-10)

    def test_state_holds_rows_only(self):
        # The state is as large for an image ten times as high.
        def sizes(height):
            return [t.shape for t in tf.nest.flatten(make("plain", event_shape=(height, 5)).initial_state(3))]

        assert sizes(4) == sizes(40)


class TestConfig:
    @every_config
    def test_from_config_is_the_same_network(self, name):
        network = make(name)
        again = GatedPixelCNN.from_config(network.get_config())
        again.set_weights(network.get_weights())
        x = tf.constant(np.random.default_rng(0).normal(size=(2, *network.event_shape)))
        condition = condition_of(network, 2)
        np.testing.assert_array_equal(again(x, condition=condition), network(x, condition=condition))

    def test_dropout_is_in_training_only(self):
        network = make("plain", dropout=0.5)
        x = tf.ones((2, 4, 4), tf.float64)
        np.testing.assert_array_equal(network(x), network(x, training=False))
        assert (network(x, training=True).numpy() != network(x).numpy()).any()

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            ({"num_layers": 0}, r"`num_layers` must be 1 or more. Received: num_layers=0"),
            ({"event_shape": (2, 2, 3), "filters": 8}, r"multiple of the 3 channels. Received: filters=8"),
            ({"kernel_size": 1}, r"`kernel_size` must be odd, and 3 or more. Received: kernel_size=1"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            make("plain", **config)
