import numpy as np
import pytest
import tensorflow as tf

from tfdgm.layers import DownRightConv2D

every_stride = pytest.mark.parametrize("strides", [1, 2])


def make(strides):
    layer, random = DownRightConv2D(2, 3, strides=strides, dtype="float64"), np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    return layer


def inputs():
    return np.random.default_rng(1).normal(size=(2, 4, 6, 2))


@every_stride
def test_call_against_loops(strides):
    layer, x = make(strides), inputs()
    y = np.zeros((2, 4 // strides, 6 // strides, 3)) + np.asarray(layer.bias)
    for i, j, a, e in np.ndindex(*y.shape[1:3], 2, 2):
        row, column = strides * i - 1 + a, strides * j - 1 + e
        if row >= 0 and column >= 0:
            y[:, i, j] += x[:, row, column] @ np.asarray(layer.kernel)[a, e]
    np.testing.assert_allclose(layer(x), y, rtol=1e-10, atol=1e-12)
    assert layer.compute_output_shape(x.shape) == y.shape


@every_stride
def test_rows_and_pixels_equal_call(strides):
    layer, x = make(strides), tf.constant(inputs())
    weights, expected = layer.prepared(), layer(x).numpy()
    columns = tf.pad(tf.transpose(x, (1, 2, 0, 3)), [[1, 0], [1, 0], [0, 0], [0, 0]])  # [1 + rows, 1 + columns, n, features]
    for i in range(0, 4, strides):
        above = layer.start_row(weights, columns[i])
        for j in range(0, 6, strides):
            y = layer.step(weights, above[j // strides], columns[i + 1, j], columns[i + 1, j + 1])
            np.testing.assert_allclose(y, expected[:, i // strides, j // strides], rtol=1e-12, atol=1e-12)


@every_stride
def test_from_config(strides):
    layer = make(strides)
    again = DownRightConv2D.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(inputs()), layer(inputs()))
