import keras
from keras import ops


class VerticalConv2D(keras.layers.Layer):
    """A convolution over the rows above: the vertical stack of van den Oord et al. 2016, arXiv:1606.05328, section 2.2, figure 2.

        y[i, j] = b + sum_(a = a_0..k//2) sum_(|e| <= k//2) x[s i - a, s j + e] K[a, e]

    with a_0 = 1 for mask "A", of the first layer, and 0 for mask "B". y at row i then depends on whole rows of the image alone,
    so a row is computed at once: `call` takes all rows, `step` the next one. With k = 3 and mask "B" it is the "down-shifted"
    convolution of PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, section 2.4.

    Shapes: x [n, height, width, in_filters] -> y [n, height / s, width / s, filters].

    Args:
      in_filters, filters: features in and out.
      kernel_size: k, an odd number that counts the taps cut off as well.
      mask_type: "A" or "B".
      strides: s, which divides height and width.
      kernel_initializer: any Keras initializer.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        kernel_size: int,
        *,
        mask_type: str = "B",
        strides: int = 1,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if mask_type not in ("A", "B"):
            raise ValueError(f"`mask_type` must be 'A' or 'B'. Received: {mask_type!r}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd. Received: kernel_size={kernel_size}")
        self.in_filters, self.filters, self.kernel_size, self.mask_type = in_filters, filters, kernel_size, mask_type
        self.strides = strides
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self._reach = kernel_size // 2
        self._rows = self._reach + (mask_type == "B")
        if not self._rows:
            raise ValueError("Mask 'A' leaves nothing of a kernel_size of 1: take 3 or more.")
        shape = (self._rows, kernel_size, in_filters, filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x):
        x = x[:, :-1] if self.mask_type == "A" else x
        return self._convolve(ops.pad(x, [[0, 0], [self._reach, 0], [0, 0], [0, 0]]), self.prepared())

    def initial_state(self, batch_size, width):
        """(weights, the rows kept) before the first row of an image."""
        return self.prepared(), self.initial_rows(batch_size, width)

    def prepared(self):
        """The weights as `step` takes them."""
        return ops.cast(self.kernel, self.compute_dtype), ops.cast(self.bias, self.compute_dtype)

    def initial_rows(self, batch_size, width):
        """The rows kept before the first row of an image."""
        return ops.zeros((batch_size, self._rows - 1, width, self.in_filters), self.compute_dtype)

    def step(self, x, weights, rows):
        """(y [n, 1, width / s, filters] of one row, the rows kept); x is that row under mask "B", the one above it under "A"."""
        return self._convolve(ops.concatenate([rows, x], axis=1), weights), self.keep(x, rows)

    def keep(self, x, rows):
        """The rows kept after a row x for which no y is wanted: between those of a stride."""
        return ops.concatenate([rows, x], axis=1)[:, 1:]

    def _convolve(self, x, weights):
        kernel, bias = weights
        x = ops.pad(x, [[0, 0], [0, 0], [self._reach, self._reach], [0, 0]])
        return ops.conv(x, kernel, strides=self.strides, padding="valid", data_format="channels_last") + bias

    def compute_output_shape(self, input_shape):
        n, height, width, _ = input_shape
        return (n, *(None if size is None else size // self.strides for size in (height, width)), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "mask_type": self.mask_type,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
