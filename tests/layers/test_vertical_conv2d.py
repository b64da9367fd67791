import numpy as np
import pytest
import tensorflow as tf

from tfdgm.layers import VerticalConv2D

CONFIGS = {"B": {}, "A": {"mask_type": "A"}, "B, 5 x 5": {"kernel_size": 5}, "A, 7 x 7": {"kernel_size": 7, "mask_type": "A"}}
CONFIGS["pointwise"] = {"kernel_size": 1}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name, **changes):
    layer = VerticalConv2D(**{"in_filters": 2, "filters": 3, "kernel_size": 3, "dtype": "float64", **CONFIGS[name], **changes})
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    return layer


def inputs():
    return np.random.default_rng(1).normal(size=(2, 4, 5, 2))


class TestCall:
    @every_config
    def test_against_loops(self, name):
        layer, x = make(name), inputs()
        half, kernel = layer.kernel_size // 2, np.asarray(layer.kernel)
        y = np.zeros((2, 4, 5, 3)) + np.asarray(layer.bias)
        for i, j, a, b in np.ndindex(4, 5, *kernel.shape[:2]):
            row, column = i - half + a, j - half + b  # Row 0 of the kernel is the uppermost.
            if row >= 0 and 0 <= column < 5:
                y[:, i, j] += x[:, row, column] @ kernel[a, b]
        np.testing.assert_allclose(layer(x), y, rtol=1e-10, atol=1e-12)


class TestStep:
    @every_config
    def test_equals_call(self, name):
        layer, x = make(name), tf.constant(inputs())
        weights, rows = layer.initial_state(2, 5)
        y = []
        for i in range(4):
            given = i - (layer.mask_type == "A")
            x_i = x[:, given : given + 1] if given >= 0 else tf.zeros_like(x[:, :1])
            y_i, rows = layer.step(x_i, weights, rows)
            y.append(y_i)
        np.testing.assert_allclose(tf.concat(y, axis=1), layer(x), rtol=1e-12, atol=1e-12)


class TestStrides:
    def test_every_second_row_and_column(self):
        # The image is even in height and width, as the networks hold it.
        layer, dense = make("B", strides=2), make("B")
        x = tf.constant(inputs()[:, :, :4])
        np.testing.assert_allclose(layer(x), dense(x)[:, ::2, ::2], rtol=1e-12, atol=1e-12)
        assert layer.compute_output_shape(x.shape) == layer(x).shape
        weights, rows = layer.initial_state(2, 4)
        for i in range(4):
            if i % 2 == 0:
                y, _ = layer.step(x[:, i : i + 1], weights, rows)
                np.testing.assert_allclose(y[:, 0], layer(x)[:, i // 2], rtol=1e-12, atol=1e-12)
            rows = layer.keep(x[:, i : i + 1], rows)


class TestConfig:
    @every_config
    def test_from_config(self, name):
        layer = make(name)
        again = VerticalConv2D.from_config(layer.get_config())
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(inputs()), layer(inputs()))

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"mask_type": "C"}, r"`mask_type` must be 'A' or 'B'. Received: 'C'"),
            ({"kernel_size": 2}, r"`kernel_size` must be odd. Received: kernel_size=2"),
            ({"kernel_size": 1, "mask_type": "A"}, r"leaves nothing of a kernel_size of 1"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            make("B", **config)
