import numpy as np
import pytest

from tfdgm.layers import ShiftedConv2DTranspose

every_width = pytest.mark.parametrize("kernel_width", [2, 3])


def make(kernel_width):
    layer, random = ShiftedConv2DTranspose(2, 3, kernel_width, dtype="float64"), np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    return layer


def inputs(height=2, width=3):
    return np.random.default_rng(1).normal(size=(2, height, width, 2))


@every_width
@pytest.mark.parametrize("size", [(2, 3), (1, 1), (3, 1)])
def test_call_against_loops(kernel_width, size):
    layer, x = make(kernel_width), inputs(*size)
    height, width = size
    y = np.zeros((2, 2 * height, 2 * width, 3)) + np.asarray(layer.bias)
    for i, j, a, e in np.ndindex(height, width, 2, kernel_width):
        column = 2 * j + e - (kernel_width - 1) // 2
        if 0 <= column < 2 * width:
            y[:, 2 * i + a, column] += x[:, i, j] @ np.asarray(layer.kernel)[a, e]
    np.testing.assert_allclose(layer(x), y, rtol=1e-10, atol=1e-12)
    assert layer.compute_output_shape(x.shape) == y.shape


def test_step_equals_call_of_a_pixel():
    layer, x = make(2), inputs()
    y = layer.step(layer.prepared(), x[:, 1, 2])
    np.testing.assert_allclose(y, np.reshape(layer(x)[:, 2:4, 4:6], (2, -1)), rtol=1e-12, atol=1e-12)


@every_width
def test_from_config(kernel_width):
    layer = make(kernel_width)
    again = ShiftedConv2DTranspose.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(inputs()), layer(inputs()))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`kernel_width` must be 2 or 3. Received: kernel_width=4"):
        make(4)
