import itertools

import numpy as np
import pytest
import tensorflow as tf
from contracts import generated, passes, randomize

from tfdgm.layers import exporting
from tfdgm.networks import PixelCNN
from tfdgm.tasks import network_checks

CONFIGS = {
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
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name, **changes):
    # tanh, so that no unit is dead.
    config = {"event_shape": (4, 5), "params_size": 2, "filters": 12, "num_layers": 2, "first_kernel_size": 3}
    config = {**config, "head_filters": 6, "activation": "tanh", "dtype": "float64", **CONFIGS[name], **changes}
    return randomize(PixelCNN(**config))


def condition_of(network, n):
    if network.condition_shape is None:
        return None
    return tf.constant(np.random.default_rng(4).normal(size=(n, *network.condition_shape)), network.compute_dtype)


def reachable(network):
    """[D, D] of bool: which inputs the masks of the paper let reach which outputs, by composing them layer after layer."""
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


class TestAutoregressiveProperty:
    @every_config
    def test_outputs_move_with_exactly_what_the_masks_let_through(self, name):
        network = make(name)
        condition = condition_of(network, 1)
        np.testing.assert_array_equal(network_checks.connections(network, condition, rows=4), reachable(network))
        passes(network_checks.mask_leaks("mask leaks", network, condition))

    @every_config
    def test_step_equals_call(self, name):
        network = make(name)
        for by_steps in (False, True):
            check = network_checks.generation_equals_call(
                "generate", network, condition_of(network, 1), by_steps=by_steps, tolerance=1e-10
            )
            passes(check)

    def test_blind_spot(self):
        # The gradient of one pixel's parameters in all inputs. 3 x 3 kernels see one column to the right a row up, however deep
        # the network is (Gated PixelCNN's figure 1).
        network = make("plain", event_shape=(7, 9), num_layers=6)
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

    def test_condition_reaches_every_position_the_first_too(self):
        network = make("condition")
        params = network(tf.zeros((2, 4, 5), tf.float64), condition=tf.constant([[0.0, 0, 0], [1, 2, 3]], tf.float64))
        assert (np.abs(params[0] - params[1]) > 1e-6).all()


class TestGeneration:
    @pytest.mark.parametrize(
        ("name", "mode"),
        [*itertools.product(["condition", "three channels"], ["eager", "graph", "exporting"]), ("condition", "xla")],
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
        elif mode == "eager":
            tf.config.run_functions_eagerly(True)
            try:
                result = generated(network, by_steps=False, jit_compile=False, condition=condition)
            finally:
                tf.config.run_functions_eagerly(False)
        else:
            result = generated(network, by_steps=False, jit_compile=mode == "xla", condition=condition)
        np.testing.assert_allclose(result[0].reshape(3, -1), x, rtol=1e-10, atol=1e-10)

    def test_state_holds_rows_only(self):
        # The state is as large for an image ten times as high.
        def sizes(height):
            return [t.shape for t in tf.nest.flatten(make("plain", event_shape=(height, 5)).initial_state(3))]

        assert sizes(4) == sizes(40)

    def test_float32_is_close_to_float64(self):
        network, low = make("plain"), make("plain", dtype="float32")
        low.set_weights(network.get_weights())
        x, _ = generated(network, by_steps=False, jit_compile=False)
        np.testing.assert_allclose(generated(low, by_steps=False, jit_compile=False)[0], x, rtol=1e-4, atol=1e-4)


class TestConfig:
    @every_config
    def test_from_config_is_the_same_network(self, name):
        network = make(name)
        again = PixelCNN.from_config(network.get_config())
        again.set_weights(network.get_weights())
        x = tf.constant(np.random.default_rng(0).normal(size=(2, *network.event_shape)))
        condition = condition_of(network, 2)
        np.testing.assert_array_equal(again(x, condition=condition), network(x, condition=condition))

    def test_dropout_is_in_training_only(self):
        network = make("plain", dropout=0.5)
        x = tf.ones((2, 4, 5), tf.float64)
        np.testing.assert_array_equal(network(x), network(x, training=False))
        assert (network(x, training=True).numpy() != network(x).numpy()).any()

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
            make("plain", **config)
