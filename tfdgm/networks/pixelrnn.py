import math
from collections.abc import Sequence

import keras
from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.layers import DiagonalBiLSTM, Dropout, MaskedConv2D, RowLSTM
from tfdgm.networks.image_network import ImageNetwork


class PixelRNN(ImageNetwork):
    """LSTMs over an image in residual blocks: van den Oord et al. 2016, arXiv:1601.06759, sections 3.1-3.3, figure 5, table 1.

        h_0 = conv_A(x),  h_l = h_(l-1) + conv_1x1(LSTM(h_(l-1), U_l c)),  params = conv_1x1(relu(conv_1x1(relu(h_L))))

    with `RowLSTM` or `DiagonalBiLSTM`. Every convolution but the first has mask "B". U_l c, the condition's part, is added to the
    gates at every place, as in van den Oord et al. 2016, arXiv:1606.05328, eq. 4.

    A Row LSTM sees a triangle above and a few pixels to the left, a Diagonal BiLSTM all pixels before. In the paper most of a row
    does not see the last pixel of the row above: by mask "A", no h_0 in that pixel's row does. Here the first layer's r, the LSTM
    from the right, which reaches h a row further down, takes x at its own pixel too.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels).
      kind: "row" or "diagonal".
      params_size: parameters per sub-pixel.
      filters: width of the LSTMs, a multiple of the channels; the h_l are twice as wide.
      num_layers: LSTMs, L.
      kernel_size: of a Row LSTM, odd; a Diagonal BiLSTM has none.
      first_kernel_size: of conv_A, odd.
      head_filters: width between the last two convolutions, a multiple of the channels.
      dropout: rate after each LSTM, in training only.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        kind: str = "diagonal",
        params_size: int = 1,
        filters: int = 48,
        num_layers: int = 7,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head_filters: int = 96,
        dropout: float = 0.0,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(event_shape, params_size, levels=levels, condition_shape=condition_shape, **kwargs)
        self.kind, self.filters, self.num_layers, self.head_filters = kind, filters, num_layers, head_filters
        self.kernel_size, self.first_kernel_size, self.dropout_rate, self.seed = kernel_size, first_kernel_size, dropout, seed
        if kind not in ("row", "diagonal"):
            raise ValueError(f"`kind` must be 'row' or 'diagonal'. Received: kind={kind!r}")
        self._check_kernel_sizes(kernel_size=kernel_size, first_kernel_size=first_kernel_size)
        if filters < 1 or filters % self.num_channels:
            raise ValueError(f"`filters` must be a multiple of the {self.num_channels} channels. Received: filters={filters}")
        check_whole(num_layers=num_layers)
        given = {"num_channels": self.num_channels, "dtype": self.dtype_policy}
        self.first = MaskedConv2D(self.num_channels, 2 * filters, first_kernel_size, mask_type="A", **given)
        if kind == "row":
            self.lstm = [RowLSTM(2 * filters, filters, kernel_size, **given) for _ in range(num_layers)]
        else:
            self.lstm = [DiagonalBiLSTM(2 * filters, filters, **given) for _ in range(num_layers)]
        self.widen = [MaskedConv2D(filters, 2 * filters, 1, **given) for _ in range(num_layers)]
        self.head = [
            MaskedConv2D(2 * filters, head_filters, 1, **given),
            MaskedConv2D(head_filters, self.num_channels * params_size, 1, **given),
        ]
        self.dropout = [Dropout(dropout, seed=seed + layer, dtype=self.dtype_policy) for layer in range(num_layers)]
        self.own_pixel = None
        if kind == "diagonal":
            self.own_pixel = MaskedConv2D(self.num_channels, 4 * filters, 1, use_bias=False, dtype=self.dtype_policy)
        self.condition_dense = []
        if condition_shape is not None:
            for lstm in self.lstm:
                dense = keras.layers.Dense(lstm.gate_filters, use_bias=False, dtype=self.dtype_policy)
                dense.build((None, math.prod(self.condition_shape)))
                self.condition_dense.append(dense)
        self.built = True

    def call(self, x, condition=None, training=None):
        x = self._as_image(self.seen(x))
        h, offsets = self.first(x), self._with_own_pixels(self._condition_terms(condition), x)
        for lstm, widen, dropout, offset in zip(self.lstm, self.widen, self.dropout, offsets, strict=True):
            h = h + widen(dropout(lstm(h, offset=offset), training=training))
        for layer in self.head:
            h = layer(ops.relu(h))
        return self._as_params(h)

    def _condition_terms(self, condition):
        """U_l c of every layer, [n, 1, 1, gate_filters], or None."""
        if self.condition_shape is None:
            return [None] * self.num_layers
        c = ops.reshape(condition, (-1, 1, 1, math.prod(self.condition_shape)))
        return [dense(c) for dense in self.condition_dense]

    def _with_own_pixels(self, terms, x):
        """What is added to the gates of each layer; x [n, rows, width, channels]."""
        if self.own_pixel is None:
            return terms
        # The gates of r are the second half.
        own = ops.pad(self.own_pixel(x), [[0, 0], [0, 0], [0, 0], [4 * self.filters, 0]])
        return [own if terms[0] is None else own + terms[0], *terms[1:]]

    def initial_state(self, batch_size, condition=None):
        layers = [layer.initial_state(batch_size, self.width) for layer in self._layers_in_order]
        weights, above, row = (list(part) for part in zip(*layers, strict=True))
        terms = self._condition_terms(condition) if self.condition_shape is not None else []
        return (weights, terms), above, row

    def start_row(self, i, weights, above, row):
        weights, terms = weights
        offsets = self._with_own_pixels(terms or self._condition_terms(None), self.first.seen_row(row[0]))
        above = list(above)
        above[0] = self.first.start_row(weights[0], above[0], row[0])
        for layer, (lstm, offset) in enumerate(zip(self.lstm, offsets, strict=True)):
            at = 1 + 2 * layer  # Among all layers.
            above[at] = lstm.start_row(i, weights[at], above[at], row[at], offset=offset)
        return above

    def see_in_row(self, column, channel, x, row):
        return [self.first.write(column, channel, x[:, None], row[0]), *row[1:]]

    def step_in_row(self, column, channel, weights, above, row):
        weights, row = weights[0], list(row)
        layers = self._layers_in_order

        def step(at, x):
            y, row[at] = layers[at].step(column, channel, x, weights[at], above[at], row[at])
            return y

        h = self.first.read(column, channel, weights[0], above[0], row[0])
        for at in range(1, 1 + 2 * self.num_layers, 2):
            h = h + step(at + 1, step(at, h))
        for at in (-2, -1):
            h = step(at, ops.relu(h))
        return h, row

    @property
    def _layers_in_order(self):
        """In the order of evaluation."""
        blocks = zip(self.lstm, self.widen, strict=True)
        return [self.first, *(layer for block in blocks for layer in block), *self.head]

    def output_biases(self):
        return [self.head[-1].bias]

    def get_config(self):
        return {
            **self._common_config(),
            "kind": self.kind,
            "filters": self.filters,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "first_kernel_size": self.first_kernel_size,
            "head_filters": self.head_filters,
            "dropout": self.dropout_rate,
            "seed": self.seed,
        }
