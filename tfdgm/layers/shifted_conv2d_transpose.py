import keras
from keras import ops


class ShiftedConv2DTranspose(keras.layers.Layer):
    """Twice as many rows and columns: the transposed convolutions of PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, section
    2.3, of kernel 2 x 2 ("down-right-shifted") or 2 x 3 ("down-shifted").

        y[2 i + a, 2 j + e] = b + sum of x[i, j] K[a, e],  a = 0..1, e = 0..1 or -1..1

    Rows 2 i and 2 i + 1 come from row i alone: `call` also takes a row, as an image of its own. Under the 2 x 2 kernel, their
    columns 2 j and 2 j + 1 come from pixel (i, j) alone: `step` takes one.

    Shapes: x [n, height, width, in_filters] -> y [n, 2 height, 2 width, filters].

    Args:
      in_filters, filters: features in and out.
      kernel_width: 2 or 3.
      kernel_initializer: any Keras initializer.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        kernel_width: int,
        *,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kernel_width not in (2, 3):
            raise ValueError(f"`kernel_width` must be 2 or 3. Received: kernel_width={kernel_width}")
        self.in_filters, self.filters, self.kernel_width = in_filters, filters, kernel_width
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        shape = (2, kernel_width, in_filters, filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x):
        # One product, then sums of where columns meet: XLA and float64 on a CPU have no fast transposed convolution.
        height, width = x.shape[1:3]
        y = ops.matmul(ops.reshape(x, (-1, self.in_filters)), self._kernel())
        y = ops.reshape(y, (-1, height, width, 2, self.kernel_width, self.filters))
        even, odd = y[..., -2, :], y[..., -1, :]
        if self.kernel_width == 3:  # The odd column between two pixels belongs to both.
            odd = odd + ops.pad(y[:, :, 1:, :, 0], [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]])
        y = ops.transpose(ops.stack([even, odd], axis=3), (0, 1, 4, 2, 3, 5))
        return ops.reshape(y, (-1, 2 * height, 2 * width, self.filters)) + ops.cast(self.bias, y.dtype)

    def _kernel(self):
        """[in_filters, 2 kernel_width filters]."""
        return ops.reshape(ops.transpose(ops.cast(self.kernel, self.compute_dtype), (2, 0, 1, 3)), (self.in_filters, -1))

    def prepared(self):
        """The weights as `step` takes them."""
        return self._kernel(), ops.tile(ops.cast(self.bias, self.compute_dtype), 4)

    def step(self, weights, x):
        """The 2 x 2 pixels that come from x [n, in_filters], side by side: [n, 4 filters]; of kernel_width 2."""
        kernel, bias = weights
        return ops.matmul(x, kernel) + bias

    def compute_output_shape(self, input_shape):
        n, height, width, _ = input_shape
        return (n, 2 * height, 2 * width, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "kernel_width": self.kernel_width,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
