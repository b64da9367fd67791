import keras
from keras import ops

from tfdgm.layers.lstm_cell import lstm_cell
from tfdgm.layers.masked_conv2d import MaskedConv2D
from tfdgm.layers.scan import scan
from tfdgm.layers.slices import take_slice, update_slice


class RowLSTM(keras.layers.Layer):
    """An LSTM that takes an image row after row: van den Oord et al. 2016, arXiv:1601.06759, section 3.1, eq. 3.

        [o, f, i, g] = K_ss * h_(i-1) + K_is * x_i + b
        c_i = sigmoid(f) c_(i-1) + sigmoid(i) tanh(g),  h_i = sigmoid(o) tanh(c_i)

    at row i, where * are convolutions along the row: K_is with mask "B", K_ss with none, as it sees the row above alone. h at a
    pixel sees a triangle above it, k // 2 wider on both sides with each row, and k // 2 pixels to its left.

    Features are split into `num_channels` equal groups, one for each colour, R first, as those of `MaskedConv2D`: a group sees
    those not after it in its own pixel, and all in the row above. The gates of a group are [o, f, i, g].

    Evaluated whole (`call`), or pixel by pixel: once a row `start_row` takes the sum over the row above, then `step` adds, at
    each pixel and channel, the sum over the row's own pixels.

    Shapes: x [n, height, width, in_filters] -> h [n, height, width, filters].

    Args:
      in_filters, filters: features in and out; both multiples of num_channels.
      kernel_size: k of both convolutions, odd; K_is's counts the taps cut off as well.
      num_channels: colours in a pixel.
      kernel_initializer: any Keras initializer.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        kernel_size: int = 3,
        *,
        num_channels: int = 1,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_filters, self.filters, self.kernel_size, self.num_channels = in_filters, filters, kernel_size, num_channels
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, and 3 or more. Received: kernel_size={kernel_size}")
        if filters < 1 or filters % num_channels:
            raise ValueError(f"`filters` must be a multiple of the {num_channels} channels. Received: filters={filters}")
        #: Features that `offset` has.
        self.gate_filters = 4 * filters
        self.input_to_state = MaskedConv2D(
            in_filters,
            4 * filters,
            (1, kernel_size),
            num_channels=num_channels,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
        )
        shape = (kernel_size * filters, 4 * filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.built = True

    def call(self, x, offset=None):
        """`offset`, which broadcasts to [n, height, width, gate_filters], is added to the gates."""
        y = self.input_to_state(x)
        y = ops.transpose(y if offset is None else y + offset, (1, 0, 2, 3))
        (height, n, width, _), groups = ops.shape(y), self.num_channels
        kernel = ops.cast(self.kernel, self.compute_dtype)
        y = ops.reshape(y, (height, n, width, groups, -1))

        def next_row(carry, y):
            h, c = carry
            sums = self._state_to_state(ops.reshape(h, (n, width, self.filters)), kernel)
            return lstm_cell(y + ops.reshape(sums, ops.shape(y)), c)

        zeros = ops.zeros((n, width, groups, self.filters // groups), y.dtype)
        h = ops.reshape(scan(next_row, (zeros, zeros), y), (height, n, width, self.filters))
        return ops.transpose(h, (1, 0, 2, 3))

    def _state_to_state(self, h, kernel):
        """K_ss * h: [n, width, filters] -> [n, width, 4 filters]."""
        # As a product: XLA on CPUs takes 20 times as long for a convolution's gradient.
        width, half = h.shape[1], self.kernel_size // 2
        h = ops.pad(h, [[0, 0], [half, half], [0, 0]])
        return ops.matmul(ops.concatenate([h[:, e : e + width] for e in range(self.kernel_size)], axis=-1), kernel)

    def initial_state(self, batch_size, width):
        """What is kept before the first pixel, in three parts as that of `MaskedConv2D`: (weights, above, row)."""
        weights, above, row = self.input_to_state.initial_state(batch_size, width)
        # Of the row above: c. Of the row at hand: h and c. Columns first, which is fast to write to.
        zeros = ops.zeros((width, batch_size, self.filters), self.compute_dtype)
        return (weights, ops.cast(self.kernel, self.compute_dtype)), (above, zeros), (row, zeros, zeros)

    def start_row(self, i, weights, above, row, offset=None):
        """`above` of row i, which comes after the finished `row`."""
        (weights, kernel), (above, _), (row, h, c) = weights, above, row
        sums = self._state_to_state(ops.transpose(h, (1, 0, 2)), kernel)[:, None]
        return self.input_to_state.start_row(weights, above, row, offset=sums if offset is None else sums + offset), c

    def step(self, column, channel, x, weights, above, row):
        """(h [n, filters / num_channels] of one channel of the pixel at `column`, `row`), given that channel's x."""
        (weights, _), (above, c_above), (row, h_row, c_row) = weights, above, row
        y, row = self.input_to_state.step(column, channel, x, weights, above, row)
        k = self.filters // self.num_channels
        at = [column, 0, channel * k]
        h, c = lstm_cell(y, take_slice(c_above, at, [1, None, k])[0])
        return h, (row, update_slice(h_row, at, h[None]), update_slice(c_row, at, c[None]))

    def compute_output_shape(self, input_shape, **kwargs):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "num_channels": self.num_channels,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
