import math
from collections.abc import Sequence

import keras
from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.layers import Dropout, MaskedConv2D, VerticalConv2D
from tfdgm.networks.image_network import ImageNetwork


class GatedPixelCNN(ImageNetwork):
    """Two stacks of gated masked convolutions: van den Oord et al. 2016, arXiv:1606.05328, section 2, eq. 2-4, figure 2.

    The vertical stack v sees the rows above, the horizontal stack h the pixels to the left and, through v, the rows above:

        v'_l = conv_vertical(v_(l-1)) + V_l c,                  v_l = gate(v'_l)
        h'_l = conv_1xk(h_(l-1)) + conv_1x1(v'_l) + U_l c,      h_l = h_(l-1) + conv_1x1(gate(h'_l))
        gate([a, b]) = tanh(a) * sigmoid(b),                    params = conv_1x1(relu(conv_1x1(relu(h_L))))

    with v_0 = h_0 = x, masks "A" in the first layer, which adds no h_0, and masks "B" after it. There is no blind spot: with r
    the sum of k // 2 over the layers, the parameters of a pixel depend on all of the r pixels to its left and of the 2 r + 1
    pixels around it in each of the r rows above. c enters the same way at every place.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels).
      params_size: parameters per sub-pixel.
      filters: width of v and h, a multiple of the channels; the gates have twice as many features.
      num_layers: L, the first one counted.
      kernel_size: k of the layers after the first, odd.
      first_kernel_size: k of the first layer, odd.
      head_filters: width between the last two convolutions, a multiple of the channels.
      dropout: rate after the horizontal gates, in training only.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        filters: int = 48,
        num_layers: int = 10,
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
        self.filters, self.num_layers, self.head_filters = filters, num_layers, head_filters
        self.kernel_size, self.first_kernel_size, self.dropout_rate, self.seed = kernel_size, first_kernel_size, dropout, seed
        self._check_kernel_sizes(kernel_size=kernel_size, first_kernel_size=first_kernel_size)
        if filters < 1 or filters % self.num_channels:
            raise ValueError(f"`filters` must be a multiple of the {self.num_channels} channels. Received: filters={filters}")
        check_whole(num_layers=num_layers)
        policy, channels = self.dtype_policy, self.num_channels

        def pointwise(in_filters, out_filters):
            return MaskedConv2D(in_filters, out_filters, 1, num_channels=channels, dtype=policy)

        self.vertical, self.horizontal, self.link, self.out, self.dropout = [], [], [], [], []
        self.vertical_condition, self.horizontal_condition = [], []
        for layer in range(num_layers):
            size = kernel_size if layer else first_kernel_size
            below, mask = (filters, "B") if layer else (channels, "A")
            self.vertical.append(VerticalConv2D(below, 2 * filters, size, mask_type=mask, dtype=policy))
            self.horizontal.append(
                MaskedConv2D(below, 2 * filters, (1, size), mask_type=mask, num_channels=channels, dtype=policy)
            )
            # No mask between colours here: v knows only rows above.
            self.link.append(self._dense_to_gate(2 * filters))
            self.out.append(pointwise(filters, filters))
            self.dropout.append(Dropout(dropout, seed=seed + layer, dtype=policy))
            if condition_shape is not None:
                size = math.prod(self.condition_shape)
                self.vertical_condition.append(self._dense_to_gate(size))
                self.horizontal_condition.append(self._dense_to_gate(size))
        self.head = [pointwise(filters, head_filters), pointwise(head_filters, channels * params_size)]
        self.built = True

    def _dense_to_gate(self, size):
        """[..., size] -> the features of a gate."""
        dense = keras.layers.Dense(2 * self.filters, use_bias=False, dtype=self.dtype_policy)
        dense.build((None, size))
        return dense

    def call(self, x, condition=None, training=None):
        v = h = self._as_image(self.seen(x))
        terms = self._condition_terms(condition)
        for layer, (c_v, c_h) in enumerate(terms):
            v = self.vertical[layer](v) + c_v
            y = self.horizontal[layer](h) + self.link[layer](v) + c_h
            y = self.out[layer](self.dropout[layer](self._gate_of_channels(y), training=training))
            h = h + y if layer else y
            v = _gate(v)
        for layer in self.head:
            h = layer(ops.relu(h))
        return self._as_params(h)

    def _condition_terms(self, condition):
        """(V_l c, U_l c) of every layer, each [n, 1, 1, 2 filters], or zeros."""
        if self.condition_shape is None:
            return [(0.0, 0.0)] * self.num_layers
        c = ops.reshape(condition, (-1, 1, 1, math.prod(self.condition_shape)))
        return [(v(c), h(c)) for v, h in zip(self.vertical_condition, self.horizontal_condition, strict=True)]

    def _gate_of_channels(self, y):
        """The gate of each channel's own group of features."""
        if self.num_channels == 1:
            return _gate(y)
        y = ops.reshape(y, (-1, self.height, self.width, self.num_channels, 2 * self.filters // self.num_channels))
        return ops.reshape(_gate(y), (-1, self.height, self.width, self.filters))

    def initial_state(self, batch_size, condition=None):
        terms = self._condition_terms(condition) if self.condition_shape is not None else []
        vertical = [layer.initial_state(batch_size, self.width) for layer in self.vertical]
        weights_v, rows_v = (list(part) for part in zip(*vertical, strict=True))
        others = [layer.initial_state(batch_size, self.width) for layer in self._horizontal_stack]
        weights, above, row = (list(part) for part in zip(*others, strict=True))
        return (weights_v, weights, terms), (rows_v, above), row

    def start_row(self, i, weights, above, row):
        weights_v, weights, terms = weights
        terms = terms or self._condition_terms(None)
        rows_v, above = (list(part) for part in above)
        v = self.horizontal[0].seen_row(row[0])
        for layer, (c_v, c_h) in enumerate(terms):
            v, rows_v[layer] = self.vertical[layer].step(v, weights_v[layer], rows_v[layer])
            v = v + c_v
            i = 2 * layer  # In the horizontal stack.
            offset = self.link[layer](v) + c_h
            above[i] = self.horizontal[layer].start_row(weights[i], above[i], row[i], offset=offset)
            v = _gate(v)
        return rows_v, above

    def see_in_row(self, column, channel, x, row):
        return [self.horizontal[0].write(column, channel, x[:, None], row[0]), *row[1:]]

    def step_in_row(self, column, channel, weights, above, row):
        weights, above, row = weights[1], above[1], list(row)
        layers = self._horizontal_stack

        def step(at, x):
            y, row[at] = layers[at].step(column, channel, x, weights[at], above[at], row[at])
            return y

        h = step(1, _gate(self.horizontal[0].read(column, channel, weights[0], above[0], row[0])))
        for at in range(2, 2 * self.num_layers, 2):
            h = h + step(at + 1, _gate(step(at, h)))
        for at in (-2, -1):
            h = step(at, ops.relu(h))
        return h, row

    @property
    def _horizontal_stack(self):
        """Its convolutions in the order of evaluation."""
        layers = zip(self.horizontal, self.out, strict=True)
        return [*(convolution for layer in layers for convolution in layer), *self.head]

    def output_biases(self):
        return [self.head[-1].bias]

    def get_config(self):
        return {
            **self._common_config(),
            "filters": self.filters,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "first_kernel_size": self.first_kernel_size,
            "head_filters": self.head_filters,
            "dropout": self.dropout_rate,
            "seed": self.seed,
        }


def _gate(y):
    """[..., 2 k] -> [..., k]: tanh of the first half times sigmoid of the second."""
    a, b = ops.split(y, 2, axis=-1)
    return ops.tanh(a) * ops.sigmoid(b)
