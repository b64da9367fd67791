import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdgm.layers import MaskedConv2D

CONFIGS = {
    "B": {},
    "A": {"mask_type": "A"},
    "B, 5 x 3": {"kernel_size": (5, 3)},
    "A, 7 x 7, larger than the image": {"kernel_size": 7, "mask_type": "A"},
    "2 x 2": {"kernel_size": 2},
    "A, 4 x 4": {"kernel_size": 4, "mask_type": "A"},
    "one row": {"kernel_size": (1, 5)},
    "one row, A": {"kernel_size": (1, 5), "mask_type": "A"},
    "one column": {"kernel_size": (3, 1)},
    "one column, A": {"kernel_size": (3, 1), "mask_type": "A"},
    "pointwise": {"kernel_size": 1, "use_bias": False},
    "three channels, B": {"num_channels": 3, "in_filters": 6, "filters": 9},
    "three channels, A": {"num_channels": 3, "in_filters": 3, "filters": 6, "mask_type": "A", "use_bias": False},
    "three channels, A, one row": {"num_channels": 3, "in_filters": 3, "filters": 6, "mask_type": "A", "kernel_size": (1, 3)},
    "three channels, pointwise": {"num_channels": 3, "in_filters": 6, "filters": 3, "kernel_size": 1},
}
every_config = pytest.mark.parametrize("name", CONFIGS)
HEIGHT, WIDTH = 4, 5


def make(name, **changes):
    config = {"in_filters": 2, "filters": 3, "kernel_size": 3, "dtype": "float64", **CONFIGS[name], **changes}
    layer = MaskedConv2D(**config)
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    return layer


def inputs(layer, n=2):
    return np.random.default_rng(1).normal(size=(n, HEIGHT, WIDTH, layer.in_filters))


def by_loops(layer, x):
    """The convolution as sums over pixels, with the paper's mask."""
    (height, width), channels = layer.kernel_size, layer.num_channels
    kernel = np.asarray(layer.kernel)
    y = np.zeros((*x.shape[:3], layer.filters)) + (0 if layer.bias is None else np.asarray(layer.bias))
    taps = [(-a, e) for a in range(height // 2, 0, -1) for e in range(-(width // 2), (width + 1) // 2)]
    taps += [(0, -e) for e in range(width // 2, 0, -1)]
    taps += [(0, 0)] * (len(kernel) - len(taps))
    for (i, j), (tap, (a, e)) in itertools.product(np.ndindex(HEIGHT, WIDTH), enumerate(taps)):
        if not (0 <= i + a < HEIGHT and 0 <= j + e < WIDTH):
            continue
        for p, q in itertools.product(range(layer.in_filters), range(layer.filters)):
            before, after = p * channels // layer.in_filters, q * channels // layer.filters
            if (a, e) == (0, 0) and (before > after or (before == after and layer.mask_type == "A")):
                continue
            y[:, i, j, q] += x[:, i + a, j + e, p] * kernel[tap, p, q]
    return y


class TestCall:
    @every_config
    def test_against_loops(self, name):
        layer = make(name)
        x = inputs(layer)
        np.testing.assert_allclose(layer(x), by_loops(layer, x), rtol=1e-10, atol=1e-12)

    def test_number_of_weights(self):
        # No weight where the mask of one channel is 0.
        assert make("B").kernel.shape == (5, 2, 3)
        assert make("A").kernel.shape == (4, 2, 3)
        assert make("A", kernel_size=7).kernel.shape == (24, 2, 3)


class TestStep:
    @pytest.mark.parametrize(("name", "jit_compile"), [*((name, False) for name in CONFIGS), ("B", True)])
    def test_equals_call(self, name, jit_compile):
        layer = make(name)
        x = tf.constant(inputs(layer))

        start_row, read, write, step = (
            tf.function(method, jit_compile=jit_compile, autograph=False)
            for method in (layer.start_row, layer.read, layer.write, layer.step)
        )
        channels, groups = layer.num_channels, np.split(x.numpy(), layer.num_channels, axis=-1)
        weights, above, row = layer.initial_state(len(x), WIDTH)
        y = []
        for i in range(HEIGHT):
            if not layer.is_pointwise:
                above = start_row(weights, above, row)
            for j, c in itertools.product(range(WIDTH), range(channels)):
                at, x_t = (tf.constant(j), tf.constant(c)), tf.constant(groups[c][:, i, j])
                if layer.mask_type == "B":
                    y_t, row = step(*at, x_t, weights, above, row)
                else:  # A sub-pixel is not known yet when y at its place is read.
                    y_t = read(*at, weights, above, row)
                    row = write(*at, x_t, row)
                y.append(y_t)
        result = tf.reshape(tf.stack(y, axis=1), (len(x), HEIGHT, WIDTH, layer.filters))
        np.testing.assert_allclose(result, layer(x), rtol=1e-12, atol=1e-12)

    def test_offset_is_added(self):
        layer = make("B")
        x, offset = inputs(layer), np.random.default_rng(2).normal(size=(2, 1, WIDTH, 3))
        weights, above, row = layer.initial_state(2, WIDTH)
        above = layer.start_row(weights, above, row, offset=tf.constant(offset))
        y, _ = layer.step(0, 0, tf.constant(x[:, 0, 0]), weights, above, row)
        np.testing.assert_allclose(y, layer(x)[:, 0, 0] + offset[:, 0, 0], rtol=1e-12)

    def test_state_does_not_grow_with_the_image(self):
        # Two rows above of a 5 x 5 kernel, and the row at hand with two columns to its left.
        layer = make("B", kernel_size=5)
        _, (rows, sums), row = layer.initial_state(7, 100)
        assert rows.shape == (2, 100, 7, 2) and sums.shape == (100, 7, 3) and row.shape == (102, 7, 2)


class TestConfig:
    @every_config
    def test_from_config(self, name):
        layer = make(name)
        again = MaskedConv2D.from_config(layer.get_config())
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(inputs(layer)), layer(inputs(layer)))

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"mask_type": "C"}, r"`mask_type` must be 'A' or 'B'. Received: 'C'"),
            ({"kernel_size": 0}, r"`kernel_size` must be 1 or more, or two such numbers. Received: kernel_size=0"),
            ({"kernel_size": (3, 2, 1)}, r"two such numbers. Received: kernel_size=\(3, 2, 1\)"),
            ({"kernel_size": 1, "mask_type": "A"}, r"leaves nothing of a kernel_size of 1"),
            ({"num_channels": 2}, r"`filters` must be a multiple of the 2 channels. Received: filters=3"),
            ({"num_channels": 3}, r"`in_filters` must be a multiple of the 3 channels. Received: in_filters=2"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            make("B", **config)
