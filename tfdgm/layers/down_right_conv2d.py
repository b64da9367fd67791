import keras
from keras import ops

from tfdgm.layers.update_slice import update_slice


class DownRightConv2D(keras.layers.Layer):
    """A convolution over a pixel, the one to its left, and the two above these: the "down-right-shifted" convolution of
    PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, section 2.4, figure 2.

        y[i, j] = b + sum_(a = 0..1, e = 0..1) x[s i - a, s j - e] K[a, e]

    The "down-shifted" one is `VerticalConv2D` of kernel_size 3. Evaluated whole (`call`), or pixel by pixel: once a row
    `start_row` takes the sum over the row above, then `step` adds, at each pixel, the sum over the row's own two.

    Shapes: x [n, height, width, in_filters] -> y [n, height / s, width / s, filters].

    Args:
      in_filters, filters: features in and out.
      strides: s, which divides height and width.
      kernel_initializer: any Keras initializer.
    """

    def __init__(self, in_filters, filters, *, strides=1, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.in_filters, self.filters, self.strides = in_filters, filters, strides
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # As in a convolution: the uppermost row and the leftmost column come first.
        self.kernel = self.add_weight(shape=(2, 2, in_filters, filters), initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x):
        kernel, bias = ops.cast(self.kernel, self.compute_dtype), ops.cast(self.bias, self.compute_dtype)
        x = ops.pad(x, [[0, 0], [1, 0], [1, 0], [0, 0]])
        return ops.conv(x, kernel, strides=self.strides, padding="valid", data_format="channels_last") + bias

    def initial_state(self, batch_size, width):
        """What is kept before the first pixel of an image `width` pixels wide: (weights, above, row).

        weights stay as they are; above is renewed by `start_row`; row, x in the row at hand, by `step` or `write`.
        """
        kernel, bias = ops.cast(self.kernel, self.compute_dtype), ops.cast(self.bias, self.compute_dtype)
        weights = kernel[0, 0], kernel[0, 1], ops.reshape(kernel[1], (2 * self.in_filters, self.filters)), bias
        above = ops.zeros((width // self.strides, batch_size, self.filters), self.compute_dtype)
        return weights, above, ops.zeros((1 + width, batch_size, self.in_filters), self.compute_dtype)

    def start_row(self, weights, row, offset=0.0):
        """`above` [width / s, n, filters] of the row that comes after `row`; `offset`, which broadcasts to it, is added to y."""
        left, right, _, bias = weights
        return ops.matmul(row[: -1 : self.strides], left) + ops.matmul(row[1 :: self.strides], right) + bias + offset

    def write(self, column, x, row):
        """`row` with x [n, in_filters] of the pixel at `column`."""
        return update_slice(row, [column + 1, 0, 0], x[None])

    def step(self, column, x, weights, above, row):
        """(y [n, filters] at the pixel of x [n, in_filters], at `column`, a multiple of s; the new row)."""
        _, _, kernel, _ = weights
        y = ops.matmul(ops.concatenate([row[column], x], axis=-1), kernel) + above[column // self.strides]
        return y, self.write(column, x, row)

    def compute_output_shape(self, input_shape):
        n, height, width, _ = input_shape
        return (n, *(None if size is None else size // self.strides for size in (height, width)), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
