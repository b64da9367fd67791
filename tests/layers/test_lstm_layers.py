"""RowLSTM and DiagonalBiLSTM, and the scan and the cell below them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdgm.layers import DiagonalBiLSTM, RowLSTM, lstm_cell, scan

LAYERS = {
    "row": (RowLSTM, {}),
    "row, k = 5": (RowLSTM, {"kernel_size": 5}),
    "row, three channels": (RowLSTM, {"num_channels": 3}),
    "diagonal": (DiagonalBiLSTM, {}),
    "diagonal, three channels": (DiagonalBiLSTM, {"num_channels": 3}),
}
every_layer = pytest.mark.parametrize("name", LAYERS)
HEIGHT, WIDTH, IN, FILTERS = 4, 5, 3, 6


def make(name, **changes):
    cls, config = LAYERS[name]
    layer = cls(**{"in_filters": IN, "filters": FILTERS, "dtype": "float64", **config, **changes})
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape) * 0.5)
    return layer


def inputs(n=2):
    return np.random.default_rng(1).normal(size=(n, HEIGHT, WIDTH, IN))


def offsets(layer, n=2):
    return np.random.default_rng(2).normal(size=(n, 1, 1, layer.gate_filters))


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def cell(y, c, channels):
    """Eq. 3 for one pixel, feature by feature: (h, c). The gates of a channel's features stand together."""
    h, new_c, k = np.zeros_like(c), np.zeros_like(c), c.shape[-1] // channels
    for q in range(c.shape[-1]):
        o, f, i, g = (y[:, 4 * k * (q // k) + gate * k + q % k] for gate in range(4))
        new_c[:, q] = sigmoid(f) * c[:, q] + sigmoid(i) * np.tanh(g)
        h[:, q] = sigmoid(o) * np.tanh(new_c[:, q])
    return h, new_c


def mask_b(kernel, channels):
    """[in, out]: joins a colour to those not after it."""
    p, q = (np.arange(size) * channels // size for size in kernel.shape)
    return kernel * (p[:, None] <= q)


def row_by_loops(layer, x, offset):
    kernel, bias = (np.asarray(weight) for weight in layer.input_to_state.weights)
    half = layer.kernel_size // 2
    state_to_state = np.asarray(layer.kernel).reshape(layer.kernel_size, FILTERS, -1)
    h, c = (np.zeros((len(x), HEIGHT + 1, WIDTH, FILTERS)) for _ in range(2))  # Row -1, the last, stays zero.
    for i, j in np.ndindex(HEIGHT, WIDTH):
        y = bias + offset + x[:, i, j] @ mask_b(kernel[half], layer.num_channels)
        for e in range(-half, half + 1):
            if 0 <= j + e < WIDTH:
                y = y + h[:, i - 1, j + e] @ state_to_state[half + e]
                if e < 0:
                    y = y + x[:, i, j + e] @ kernel[half + e]
        h[:, i, j], c[:, i, j] = cell(y, c[:, i - 1, j], layer.num_channels)
    return h[:, :-1]


def diagonal_by_loops(layer, x, offset):
    left, left_c, right, right_c = (np.zeros((len(x), HEIGHT + 1, WIDTH + 1, FILTERS)) for _ in range(4))
    left_offset, right_offset = np.split(offset, 2, axis=-1)
    left_0, left_1 = np.split(np.asarray(layer.left_kernel), 2)
    right_0, right_1 = np.split(np.asarray(layer.right_kernel), 2)
    masked = mask_b(np.asarray(layer.input_to_left.kernel)[0], layer.num_channels)
    for i, j in np.ndindex(HEIGHT, WIDTH):
        y = np.asarray(layer.input_to_left.bias) + left_offset + x[:, i, j] @ masked
        y = y + left[:, i, j - 1] @ left_0 + left[:, i - 1, j] @ left_1
        left[:, i, j], left_c[:, i, j] = cell(y, left_c[:, i, j - 1], layer.num_channels)
    for i, j in itertools.product(range(HEIGHT), reversed(range(WIDTH))):
        y = np.asarray(layer.input_to_right.bias) + right_offset + x[:, i, j] @ np.asarray(layer.input_to_right.kernel)[0]
        y = y + right[:, i, j + 1] @ right_0 + right[:, i - 1, j] @ right_1
        right[:, i, j], right_c[:, i, j] = cell(y, right_c[:, i, j + 1], layer.num_channels)
    return left[:, :-1, :-1] + np.roll(right, 1, axis=1)[:, :-1, :-1]


class TestCall:
    @every_layer
    def test_against_loops_over_pixels(self, name):
        layer, x = make(name), inputs()
        offset = offsets(layer)
        by_loops = row_by_loops if isinstance(layer, RowLSTM) else diagonal_by_loops
        np.testing.assert_allclose(layer(x, offset=offset), by_loops(layer, x, offset[:, 0, 0]), rtol=1e-10, atol=1e-12)
        zeros = np.zeros_like(offset[:, 0, 0])
        np.testing.assert_allclose(layer(x), by_loops(layer, x, zeros), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize(("name", "k"), [("row", 3), ("row, k = 5", 5), ("diagonal", None)])
    def test_receptive_field(self, name, k):
        # The gradient of one pixel's h in all inputs, on a larger image: a triangle, or all that is not after it.
        layer = make(name)
        x = tf.constant(np.random.default_rng(1).normal(size=(1, 6, 21, IN)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            h = tf.reduce_sum(layer(x)[0, 4, 10])
        seen = np.abs(tape.gradient(h, x)[0]).max(axis=-1) > 0
        rows, columns = np.indices((6, 21))
        above, right = 4 - rows, columns - 10
        if k is None:
            expected = (above > 0) | ((above == 0) & (right <= 0))
        else:
            half = k // 2
            expected = (above >= 0) & (-half * (above + 1) <= right) & (right <= half * above)
        np.testing.assert_array_equal(seen, expected)

    @pytest.mark.parametrize("name", ["row, three channels", "diagonal, three channels"])
    def test_channels_are_in_order_within_a_pixel(self, name):
        layer, x = make(name), inputs(1)
        for colour in range(3):
            other = x.copy()
            other[0, 2, 2, colour] += 1
            moved = (layer(x)[0, 2, 2] != layer(other)[0, 2, 2]).numpy().reshape(3, -1)
            assert not moved[:colour].any() and moved[colour:].all()

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["row", "diagonal, three channels"])
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_gradient_against_differences(self, name, jit_compile):
        layer, x = make(name), tf.constant(inputs())
        target = np.random.default_rng(3).normal(size=(2, HEIGHT, WIDTH, FILTERS))

        def loss():
            return tf.reduce_sum(layer(x) * target)

        @tf.function(jit_compile=jit_compile, autograph=False)
        def gradients():
            with tf.GradientTape() as tape:
                value = loss()
            return tape.gradient(value, layer.trainable_weights)

        random = np.random.default_rng(4)
        for weight, gradient in zip(layer.trainable_weights, gradients(), strict=True):
            before, direction = weight.numpy(), random.normal(size=weight.shape)
            values = []
            for step in (1e-5, -1e-5):
                weight.assign(before + step * direction)
                values.append(float(loss()))
            weight.assign(before)
            np.testing.assert_allclose((values[0] - values[1]) / 2e-5, np.sum(gradient * direction), rtol=1e-6, atol=1e-6)


class TestStep:
    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "jit_compile"), [*((name, False) for name in LAYERS), ("row", True), ("diagonal", True)])
    def test_equals_call(self, name, jit_compile):
        layer, x = make(name), tf.constant(inputs())
        offset = tf.constant(offsets(layer))

        start_row, step = (
            tf.function(method, jit_compile=jit_compile, autograph=False) for method in (layer.start_row, layer.step)
        )
        channels, groups = layer.num_channels, np.split(x.numpy(), layer.num_channels, axis=-1)
        weights, above, row = layer.initial_state(len(x), WIDTH)
        h = []
        for i in range(HEIGHT):
            above = start_row(tf.constant(i), weights, above, row, offset=offset)
            for j, c in itertools.product(range(WIDTH), range(channels)):
                h_t, row = step(tf.constant(j), tf.constant(c), tf.constant(groups[c][:, i, j]), weights, above, row)
                h.append(h_t)
        result = tf.reshape(tf.stack(h, axis=1), (len(x), HEIGHT, WIDTH, FILTERS))
        np.testing.assert_allclose(result, layer(x, offset=offset), rtol=1e-12, atol=1e-12)


class TestConfig:
    @every_layer
    def test_from_config(self, name):
        layer = make(name)
        again = type(layer).from_config(layer.get_config())
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(inputs()), layer(inputs()))

    @pytest.mark.parametrize(
        ("name", "config", "message"),
        [
            ("row", {"kernel_size": 2}, r"`kernel_size` must be odd, and 3 or more. Received: kernel_size=2"),
            ("row", {"filters": 4, "num_channels": 3}, r"`filters` must be a multiple of the 3 channels. Received: filters=4"),
            ("diagonal", {"filters": 4, "num_channels": 3}, r"multiple of the 3 channels. Received: filters=4"),
            ("diagonal", {"in_filters": 4, "num_channels": 3}, r"`in_filters` must be a multiple .* Received: in_filters=4"),
        ],
    )
    def test_bad_arguments(self, name, config, message):
        with pytest.raises(ValueError, match=message):
            make(name, **config)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_scan_and_its_gradient_against_a_loop(jit_compile):
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 2, 12)))

    def by_loop(x):
        h, c, all_h = tf.zeros((2, 3), x.dtype), tf.zeros((2, 3), x.dtype), []
        for t in range(5):
            h, c = lstm_cell(x[t] + tf.tile(h, (1, 4)), c)
            all_h.append(h)
        return tf.stack(all_h)

    def by_scan(x):
        zeros = tf.zeros((2, 3), x.dtype)
        return scan(lambda carry, x_t: lstm_cell(x_t + tf.tile(carry[0], (1, 4)), carry[1]), (zeros, zeros), x)

    def value_and_gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
            loss = tf.reduce_sum(value**2)
        return value, tape.gradient(loss, x)

    scanned = tf.function(value_and_gradient, jit_compile=jit_compile, autograph=False)(by_scan)
    for one, other in zip(scanned, value_and_gradient(by_loop), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
