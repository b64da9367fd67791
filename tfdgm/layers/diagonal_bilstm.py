import keras
from keras import ops

from tfdgm.layers.lstm_cell import lstm_cell
from tfdgm.layers.masked_conv2d import MaskedConv2D
from tfdgm.layers.scan import scan
from tfdgm.layers.slices import take_row, take_slice, update_slice


class DiagonalBiLSTM(keras.layers.Layer):
    """Two LSTMs that take an image diagonal after diagonal: van den Oord et al. 2016, arXiv:1601.06759, section 3.2, eq. 3.

    One comes from the upper left corner, l, and one from the upper right, r:

        [o, f, i, g] = K_0 l[i, j-1] + K_1 l[i-1, j] + K_is x[i, j] + b,  with the cell state of [i, j-1]
        [o, f, i, g] = K_0 r[i, j+1] + K_1 r[i-1, j] + K_is x[i, j] + b,  with the cell state of [i, j+1]
        c' = sigmoid(f) c + sigmoid(i) tanh(g),  l or r = sigmoid(o) tanh(c'),  h[i, j] = l[i, j] + r[i-1, j]

    each with weights of its own, and states of zero outside the image. h at a pixel sees all pixels before it.

    Features are split into `num_channels` equal groups, one for each colour, R first, as those of `MaskedConv2D`: a group sees
    those not after it in its own pixel, and all in the pixels before. K_is of l has mask "B"; that of r, which reaches h a row
    further down, needs none, where the paper masks both. The gates of a group are [o, f, i, g].

    Evaluated whole (`call`), where rows are skewed, each a step further to the right than the one above, so that diagonals are
    columns; or pixel by pixel: once a row `start_row` takes r over the row just finished, then `step` takes l.

    Shapes: x [n, height, width, in_filters] -> h [n, height, width, filters].

    Args:
      in_filters, filters: features in and out; both multiples of num_channels.
      num_channels: colours in a pixel.
      kernel_initializer: any Keras initializer.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        *,
        num_channels: int = 1,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_filters, self.filters, self.num_channels = in_filters, filters, num_channels
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if filters < 1 or filters % num_channels:
            raise ValueError(f"`filters` must be a multiple of the {num_channels} channels. Received: filters={filters}")
        #: Features that `offset` has: the gates of l, and those of r.
        self.gate_filters = 8 * filters

        def pointwise(channels):
            initializer, policy = self.kernel_initializer, self.dtype_policy
            return MaskedConv2D(in_filters, 4 * filters, 1, num_channels=channels, kernel_initializer=initializer, dtype=policy)

        self.input_to_left, self.input_to_right = pointwise(num_channels), pointwise(1)
        # [K_0, K_1] of each.
        shape = (2 * filters, 4 * filters)
        self.left_kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="left_kernel")
        self.right_kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="right_kernel")
        self.built = True

    def call(self, x, offset=None):
        """`offset`, which broadcasts to [n, height, width, gate_filters], is added to the gates."""
        (n, height, width, _), groups = ops.shape(x), self.num_channels
        y = ops.concatenate([self.input_to_left(x), self.input_to_right(x)], axis=-1)
        y = y if offset is None else y + offset
        y = ops.stack([y[..., : 4 * self.filters], ops.flip(y[..., 4 * self.filters :], axis=2)], axis=1)
        # The states stay zero where the skewed map is padded with zeros, as o = f = i = g = 0 there.
        y = ops.transpose(_skew(y), (3, 1, 0, 2, 4))
        y = ops.reshape(y, (height + width - 1, 2, n, height, groups, -1))
        kernels = ops.stack([ops.cast(k, self.compute_dtype) for k in (self.left_kernel, self.right_kernel)])

        def next_diagonal(carry, y):
            h, c = carry
            h = ops.reshape(h, (2, n, height, self.filters))
            up = ops.pad(h[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
            h = ops.reshape(ops.concatenate([h, up], axis=-1), (2, -1, 2 * self.filters))
            return lstm_cell(y + ops.reshape(ops.matmul(h, kernels), ops.shape(y)), c)

        zeros = ops.zeros((2, n, height, groups, self.filters // groups), y.dtype)
        h = scan(next_diagonal, (zeros, zeros), y)
        h = ops.reshape(h, (height + width - 1, 2, n, height, self.filters))
        h = _unskew(ops.transpose(h, (2, 1, 3, 0, 4)))
        return h[:, 0] + ops.pad(ops.flip(h[:, 1, :-1], axis=2), [[0, 0], [1, 0], [0, 0], [0, 0]])

    def initial_state(self, batch_size, width):
        """What is kept before the first pixel, in three parts as that of `MaskedConv2D`: (weights, above, row)."""
        groups, dtype = self.num_channels, self.compute_dtype
        (_, of_left, bias), _, _ = self.input_to_left.initial_state(batch_size, width)
        (_, *of_right), _, _ = self.input_to_right.initial_state(batch_size, width)
        left_0, left_1 = ops.split(ops.cast(self.left_kernel, dtype), 2)
        right_0, right_1 = ops.split(ops.cast(self.right_kernel, dtype), 2)
        # One product a channel of a pixel: [K_is, K_0], [channel, features in, gates of the channel].
        of_left = ops.reshape(of_left, (groups, self.in_filters, -1))
        left_0 = ops.transpose(ops.reshape(left_0, (self.filters, groups, -1)), (1, 0, 2))
        left = ops.concatenate([of_left, left_0], axis=1), ops.reshape(bias[..., 0, :], (-1,)), left_1

        def zeros(columns, filters):
            return ops.zeros((columns, batch_size, filters), dtype)

        # Columns first, which is fast to write to. Above: what the row above and b add to the gates of l, and r. Of the row at
        # hand: x[i, j] beside l[i, j-1], as they are multiplied, and c[i, j-1].
        above = zeros(width, 4 * self.filters), zeros(width, self.filters)
        row = zeros(width + 1, self.in_filters + self.filters), zeros(width + 1, self.filters)
        return (left, (*of_right, right_0, right_1)), above, row

    def start_row(self, i, weights, above, row, offset=None):
        """`above` of row i, which comes after the finished `row`; `offset` is l's in row i, and r's in the finished one."""
        ((_, bias, left_1), (to_right, right_bias, right_0, right_1)), (_, r), (x_and_l, _) = weights, above, row
        if offset is not None:
            left, right = ops.split(ops.transpose(offset[:, 0], (1, 0, 2)), 2, axis=-1)
            bias, right_bias = bias + left, right_bias + right
        x, left = x_and_l[:-1, :, : self.in_filters], x_and_l[1:, :, self.in_filters :]
        width, n, _ = ops.shape(x)
        y = ops.matmul(x, to_right) + ops.matmul(r, right_1) + right_bias
        shape = n, self.num_channels, -1

        def next_column(carry, y):
            h, c = carry
            return lstm_cell(y + ops.reshape(ops.matmul(ops.reshape(h, (n, -1)), right_0), shape), c)

        zeros = ops.zeros((n, self.num_channels, self.filters // self.num_channels), y.dtype)
        r = scan(next_column, (zeros, zeros), ops.reshape(ops.flip(y, axis=0), (width, *shape)))
        r = ops.flip(ops.reshape(r, (width, n, self.filters)), axis=0)
        # There is no row before the first.
        return ops.matmul(left, left_1) + bias, r * ops.cast(i > 0, r.dtype)

    def step(self, column, channel, x, weights, above, row):
        """(h [n, filters / num_channels] of one channel of the pixel at `column`, `row`), given that channel's x."""
        ((kernel, *_), _), (sums, r), (x_and_l, c_row) = weights, above, row
        size = x.shape[-1]
        k = self.filters // self.num_channels

        def of_channel(rows, size):
            return take_slice(rows, [column, 0, channel * size], [1, None, size])[0]

        x_and_l = update_slice(x_and_l, [column, 0, channel * size], x[None])
        y = ops.matmul(take_row(x_and_l, column), kernel[channel]) + of_channel(sums, 4 * k)
        left, c = lstm_cell(y, of_channel(c_row, k))
        x_and_l = update_slice(x_and_l, [column + 1, 0, self.in_filters + channel * k], left[None])
        c_row = update_slice(c_row, [column + 1, 0, channel * k], c[None])
        return left + of_channel(r, k), (x_and_l, c_row)

    def compute_output_shape(self, input_shape, **kwargs):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "in_filters": self.in_filters,
            "filters": self.filters,
            "num_channels": self.num_channels,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _skew(y):
    """[n, m, height, width, k] -> [n, m, height, height + width - 1, k]: row i is moved i places to the right."""
    n, m, height, width, k = ops.shape(y)
    y = ops.pad(y, [[0, 0], [0, 0], [0, 0], [0, height], [0, 0]])
    # Rows one place shorter start one place later each.
    y = ops.reshape(y, (n, m, height * (width + height), k))[:, :, : height * (width + height - 1)]
    return ops.reshape(y, (n, m, height, width + height - 1, k))


def _unskew(y):
    n, m, height, columns, k = ops.shape(y)
    y = ops.pad(ops.reshape(y, (n, m, height * columns, k)), [[0, 0], [0, 0], [0, height], [0, 0]])
    return ops.reshape(y, (n, m, height, columns + 1, k))[:, :, :, : columns + 1 - height]
