import keras
from keras import ops


class DownRightConv2D(keras.layers.Layer):
    """A convolution over a pixel, the one to its left, and the two above these: the "down-right-shifted" convolution of
    PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, section 2.4, figure 2.

        y[i, j] = b + sum_(a = 0..1, e = 0..1) x[s i - a, s j - e] K[a, e]

    The "down-shifted" one is `VerticalConv2D` of kernel_size 3. Evaluated whole (`call`), or pixel by pixel: once a row
    `start_row` takes the sum over the row above, then `step` adds, at each pixel, the sum over the row's own two. Who calls these
    keeps the row.

    Shapes: x [n, height, width, in_filters] -> y [n, height / s, width / s, filters].

    Args:
      in_filters, filters: features in and out.
      strides: s, which divides height and width.
      kernel_initializer: any Keras initializer.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        *,
        strides: int = 1,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
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

    def prepared(self):
        """The weights as `start_row` and `step` take them: (K of the row above, K of the row itself, b)."""
        kernel = ops.reshape(ops.cast(self.kernel, self.compute_dtype), (2, 2 * self.in_filters, self.filters))
        return kernel[0], kernel[1], ops.cast(self.bias, self.compute_dtype)

    def start_row(self, weights, row):
        """What the row above, [1 + width, n, in_filters] with zeros first, adds to y: [width / s, n, filters], b included."""
        kernel, _, bias = weights
        # Products of two axes: more would cost a dozen operations each.
        left, right = (ops.reshape(x[:: self.strides], (-1, self.in_filters)) for x in (row[:-1], row[1:]))
        y = ops.matmul(left, kernel[: self.in_filters]) + ops.matmul(right, kernel[self.in_filters :])
        return ops.reshape(y, ((row.shape[0] - 1) // self.strides, -1, self.filters)) + bias

    def step(self, weights, above, left, x):
        """y [n, filters] at one pixel, from `above` at it, and x [n, in_filters] there and to its left."""
        return ops.matmul(ops.concatenate([left, x], axis=-1), weights[1]) + above

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
