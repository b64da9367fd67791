from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfdgm.layers.slices import take_row, update_slice


class MaskedConv2D(keras.layers.Layer):
    """A convolution over what comes first in raster order: van den Oord et al. 2016, arXiv:1601.06759, section 3.4, figure 2.

    With kernel_size (k_h, k_w), y at row i, column j sees the k_h // 2 rows above in k_w columns around j, and in row i the
    k_w // 2 pixels to its left:

        y[i, j] = b + sum_(a = 1..k_h//2, -k_w//2 <= e <= (k_w-1)//2) x[i-a, j+e] K[a, e]
                    + sum_(e = 1..k_w//2) x[i, j-e] K[0, e] + x[i, j] K_0

    An even kernel reaches one column less to the right: 2 x 2 is the pixel, the ones above it and to its left, and the one
    above that: the shifted convolution of Salimans et al. 2017, arXiv:1701.05517.

    Features are split into `num_channels` equal groups, one for each colour, R first. K_0 joins a group to those that come
    before it (mask "A", of the first layer) or not after it (mask "B"); one channel under mask "A" has no K_0.

    Weights that the paper's mask would cut are not made, but for K_0's. Evaluated whole (`call`), or pixel by pixel: once a row
    `start_row` takes the sum over the rows above, then `read` adds, at each pixel and channel, the sum over the row's own pixels.

    Shapes: x [n, height, width, in_filters] -> y [n, height, width, filters].

    Args:
      in_filters, filters: features in and out; both multiples of num_channels.
      kernel_size: a number, or two of them (rows, columns), that count the taps cut off as well.
      mask_type: "A" or "B".
      num_channels: colours in a pixel.
      use_bias: whether to add b.
      kernel_initializer: any Keras initializer.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        kernel_size: int | Sequence[int],
        *,
        mask_type: str = "B",
        num_channels: int = 1,
        use_bias: bool = True,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_filters, self.filters, self.mask_type, self.num_channels = in_filters, filters, mask_type, num_channels
        self.kernel_size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if mask_type not in ("A", "B"):
            raise ValueError(f"`mask_type` must be 'A' or 'B'. Received: {mask_type!r}")
        if len(self.kernel_size) != 2 or min(self.kernel_size) < 1:
            raise ValueError(f"`kernel_size` must be 1 or more, or two such numbers. Received: kernel_size={kernel_size}")
        for name, value in (("in_filters", in_filters), ("filters", filters)):
            if value < 1 or value % num_channels:
                raise ValueError(f"`{name}` must be a multiple of the {num_channels} channels. Received: {name}={value}")
        height, width = self.kernel_size
        self._rows_above, self._left, self._right = height // 2, width // 2, (width - 1) // 2
        self._has_centre = mask_type == "B" or num_channels > 1
        self._row_taps = self._left + self._has_centre
        taps = self._rows_above * width + self._row_taps
        if not taps:
            raise ValueError("Mask 'A' of one channel leaves nothing of a kernel_size of 1: take 3 or more.")
        #: Whether y at a pixel depends on that pixel alone, so that nothing of earlier ones is kept.
        self.is_pointwise = self.kernel_size == (1, 1)
        self.kernel = self.add_weight(shape=(taps, in_filters, filters), initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", name="bias") if use_bias else None
        self.built = True

    def call(self, x):
        kernel, (above, left), width = self._masked_kernel(), (self._rows_above, self._left), self.kernel_size[1]
        if above:
            kernel = ops.pad(kernel, [[0, width - self._row_taps], [0, 0], [0, 0]])
            x = ops.pad(x, [[0, 0], [above, 0], [left, self._right], [0, 0]])
        else:
            width = self._row_taps
            x = ops.pad(x, [[0, 0], [0, 0], [left, 0], [0, 0]]) if left else x
            x = x if self._has_centre else x[:, :, :-1]
        kernel = ops.reshape(kernel, (above + 1, width, self.in_filters, self.filters))
        y = ops.conv(x, kernel, padding="valid", data_format="channels_last")
        return y if self.bias is None else y + ops.cast(self.bias, y.dtype)

    def initial_state(self, batch_size, width):
        """What is kept before the first pixel of an image `width` pixels wide: (weights, above, row), structures of tensors.

        weights stay as they are; above is renewed by `start_row`; row, the features seen in the row at hand, by `write`. All have
        columns first, which is fast to write to and to read.
        """
        kernel, groups = self._masked_kernel(), self.num_channels
        taps_above = self._rows_above * self.kernel_size[1]
        kernel_above = ops.reshape(kernel[:taps_above], (taps_above * self.in_filters, self.filters))
        # [group, tap and feature in, feature of the group]
        kernel_row = ops.reshape(kernel[taps_above:], (self._row_taps * self.in_filters, groups, self.filters // groups))
        bias = ops.zeros((self.filters,), kernel.dtype) if self.bias is None else ops.cast(self.bias, kernel.dtype)
        kernel_row = ops.transpose(kernel_row, (1, 0, 2))
        if self.is_pointwise:
            # A row for each of the batch: in an exported loop, oneDNN would join a vector to the product, which takes longer.
            bias = ops.broadcast_to(ops.reshape(bias, (groups, 1, -1)), (groups, batch_size, self.filters // groups))
        if groups == 1:  # Not chosen at each step: fewer operations in the loop.
            kernel_row, bias = kernel_row[0], bias[0] if self.is_pointwise else bias
        weights = kernel_above, kernel_row, bias
        if self.is_pointwise:
            # Fewer variables of the loop, and one channel needs nothing but what it is given.
            return weights, (), () if groups == 1 else ops.zeros((1, batch_size, self.in_filters), kernel.dtype)
        rows = ops.zeros((self._rows_above, width, batch_size, self.in_filters), kernel.dtype)
        sums = ops.zeros((width * groups, batch_size, self.filters // groups), kernel.dtype)
        return weights, (rows, sums), ops.zeros((self._left + width, batch_size, self.in_filters), kernel.dtype)

    def start_row(self, weights, above, row, offset=None):
        """`above` of the row that comes after `row`; `offset`, which broadcasts to [n, 1, width, filters], is added to y.

        A pointwise convolution has nothing above, and needs no call.
        """
        kernel, _, bias = weights
        rows, sums = above
        (count, n, size), groups = ops.shape(sums), self.num_channels
        y = bias if offset is None else bias + ops.transpose(offset[:, 0], (1, 0, 2))
        if self._rows_above:
            rows = ops.concatenate([rows[1:], row[None, self._left :]], axis=0)
            padded = ops.pad(rows, [[0, 0], [self._left, self._right], [0, 0], [0, 0]])
            width = count // groups
            taps = [padded[a, e : e + width] for a in range(self._rows_above) for e in range(self.kernel_size[1])]
            y = y + ops.matmul(ops.concatenate(taps, axis=-1), kernel)
        # [width, n, filters] -> [width * channels, n, filters of a channel]
        y = ops.broadcast_to(y, (count // groups, n, self.filters))
        if groups > 1:
            y = ops.reshape(ops.transpose(ops.reshape(y, (count // groups, n, groups, size)), (0, 2, 1, 3)), (count, n, size))
        return rows, y

    def seen_row(self, row):
        """The features in a finished `row`, as [n, 1, width, in_filters]."""
        return ops.transpose(row[self._left :], (1, 0, 2))[:, None]

    def seen_at(self, column, row):
        """The features [n, in_filters] of the pixel at `column`."""
        return take_row(row, column + self._left)

    def write(self, column, channel, x, row):
        """`row` with the features x [n, in_filters / num_channels] of one channel of the pixel at `column`."""
        if self.is_pointwise and self.num_channels == 1:
            return row
        at = 0 if self.is_pointwise else column + self._left
        return update_slice(row, [at, 0, channel * (self.in_filters // self.num_channels)], x[None])

    def read(self, column, channel, weights, above, row):
        """y [n, filters / num_channels] of one channel of the pixel at `column`."""
        return self._sum(column, channel, self._window(column, row, self._row_taps), weights, above)

    def step(self, column, channel, x, weights, above, row):
        """`write` and then `read`, for mask "B": (y, row)."""
        row = self.write(column, channel, x, row)
        # The pixel's own features are at hand where it has one channel; fewer operations in the loop.
        one = self.num_channels == 1
        window = [*self._window(column, row, self._left), x] if one else self._window(column, row, self._row_taps)
        return self._sum(column, channel, window, weights, above), row

    def _window(self, column, row, taps):
        """The features at the first so many taps of the kernel's own row."""
        return [row[0]] if self.is_pointwise and taps else [take_row(row, column + tap) for tap in range(taps)]

    def _sum(self, column, channel, window, weights, above):
        """y of one channel of the pixel at `column`, from the features at the taps of its row."""
        (_, kernel, bias), one = weights, self.num_channels == 1
        if not window:
            return take_row(above[1], column)
        window = ops.concatenate(window, axis=-1) if len(window) > 1 else window[0]
        y = ops.matmul(window, kernel if one else kernel[channel])
        if self.is_pointwise:
            return y + (bias if one else bias[channel])
        return y + take_row(above[1], column if one else column * self.num_channels + channel)

    def _masked_kernel(self):
        """The live taps in raster order [taps, in_filters, filters], the centre last and masked between channels."""
        kernel = ops.cast(self.kernel, self.compute_dtype)
        if self.num_channels == 1:
            return kernel
        of_input, of_output = (
            ops.convert_to_tensor(np.repeat(np.arange(self.num_channels), size // self.num_channels).astype("int32"))
            for size in (self.in_filters, self.filters)
        )
        joined = of_input[:, None] < of_output if self.mask_type == "A" else of_input[:, None] <= of_output
        return ops.concatenate([kernel[:-1], kernel[-1:] * ops.cast(joined, kernel.dtype)], axis=0)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "mask_type": self.mask_type,
            "num_channels": self.num_channels,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
