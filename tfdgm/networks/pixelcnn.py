import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from tfdgm.layers import Dropout, MaskedConv2D
from tfdgm.networks.image_network import ImageNetwork


class PixelCNN(ImageNetwork):
    """Masked convolutions in residual blocks: van den Oord et al. 2016, arXiv:1601.06759, sections 3.4 and 4.1, figure 5.

        h_0 = conv_A(x),  h_l = h_(l-1) + conv_1x1(g(conv_B(g(conv_1x1(g(h_(l-1))))) + U_l c)))
        params = conv_1x1(g(conv_1x1(g(h_L))))

    Blocks are half as wide inside. Every convolution but the first has mask B. U_l c, the condition's part, follows van den Oord
    et al. 2016, arXiv:1606.05328, eq. 4. As in the paper, each pixel has a blind spot: to the right in the rows above. See
    `GatedPixelCNN`.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels).
      params_size: parameters per sub-pixel.
      filters: width of h, a multiple of 2 channels.
      num_layers: residual blocks, L.
      kernel_size: of conv_B, odd.
      first_kernel_size: of conv_A, odd.
      head_filters: width between the last two layers, a multiple of the channels.
      activation: g, any Keras activation.
      dropout: rate inside each block, after conv_B, in training only.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        filters: int = 96,
        num_layers: int = 7,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head_filters: int = 96,
        activation: str | Callable = "relu",
        dropout: float = 0.0,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(event_shape, params_size, levels=levels, condition_shape=condition_shape, **kwargs)
        self.filters, self.num_layers, self.head_filters = filters, num_layers, head_filters
        self.kernel_size, self.first_kernel_size, self.seed = kernel_size, first_kernel_size, seed
        self.activation = keras.activations.get(activation)
        if filters < 1 or filters % (2 * self.num_channels):
            raise ValueError(f"`filters` must be a multiple of {2 * self.num_channels}. Received: filters={filters}")
        self._check_kernel_sizes(kernel_size=kernel_size, first_kernel_size=first_kernel_size)
        half = filters // 2

        def conv(in_filters, out_filters, size, mask_type="B"):
            return MaskedConv2D(
                in_filters, out_filters, size, mask_type=mask_type, num_channels=self.num_channels, dtype=self.dtype_policy
            )

        self.first = conv(self.num_channels, filters, first_kernel_size, "A")
        self.narrow = [conv(filters, half, 1) for _ in range(num_layers)]
        self.spatial = [conv(half, half, kernel_size) for _ in range(num_layers)]
        self.widen = [conv(half, filters, 1) for _ in range(num_layers)]
        self.head = [conv(filters, head_filters, 1), conv(head_filters, self.num_channels * params_size, 1)]
        self.dropout = [Dropout(dropout, seed=seed + layer, dtype=self.dtype_policy) for layer in range(num_layers)]
        self.condition_dense = []
        if condition_shape is not None:
            for _ in range(num_layers):
                dense = keras.layers.Dense(half, use_bias=False, dtype=self.dtype_policy)
                dense.build((None, math.prod(self.condition_shape)))
                self.condition_dense.append(dense)
        self.built = True

    def call(self, x, condition=None, training=None):
        g = self.activation
        h = self.first(self._as_image(self.seen(x)))
        blocks = zip(self.narrow, self.spatial, self.widen, self.dropout, self._condition_terms(condition), strict=True)
        for narrow, spatial, widen, dropout, c in blocks:
            y = spatial(g(narrow(g(h))))
            y = g(y if c is None else y + c)
            h = h + widen(dropout(y, training=training))
        for layer in self.head:
            h = layer(g(h))
        return self._as_params(h)

    def _condition_terms(self, condition):
        """U_l c of every layer, [n, 1, 1, filters / 2], or None."""
        if self.condition_shape is None:
            return [None] * self.num_layers
        c = ops.reshape(condition, (-1, 1, 1, math.prod(self.condition_shape)))
        return [dense(c) for dense in self.condition_dense]

    def initial_state(self, batch_size, condition=None):
        layers = [layer.initial_state(batch_size, self.width) for layer in self._convolutions]
        weights, above, row = (list(part) for part in zip(*layers, strict=True))
        terms = self._condition_terms(condition) if self.condition_shape is not None else []
        return (weights, terms), above, row

    def start_row(self, i, weights, above, row):
        weights, terms = weights
        offsets = {2 + 3 * block: term for block, term in enumerate(terms)}  # Of conv_B, the second of a block's three.
        return [
            a if layer.is_pointwise else layer.start_row(w, a, r, offset=offsets.get(i))
            for i, (layer, w, a, r) in enumerate(zip(self._convolutions, weights, above, row, strict=True))
        ]

    def see_in_row(self, column, channel, x, row):
        return [self.first.write(column, channel, x[:, None], row[0]), *row[1:]]

    def step_in_row(self, column, channel, weights, above, row):
        g, weights, row = self.activation, weights[0], list(row)
        layers = self._convolutions

        def step(at, x):
            y, row[at] = layers[at].step(column, channel, x, weights[at], above[at], row[at])
            return y

        h = self.first.read(column, channel, weights[0], above[0], row[0])
        for at in range(1, 1 + 3 * self.num_layers, 3):
            h = h + step(at + 2, g(step(at + 1, g(step(at, g(h))))))
        for at in (-2, -1):
            h = step(at, g(h))
        return h, row

    @property
    def _convolutions(self):
        """In the order of evaluation."""
        blocks = zip(self.narrow, self.spatial, self.widen, strict=True)
        return [self.first, *(layer for block in blocks for layer in block), *self.head]

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
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout[0].rate if self.dropout else 0.0,
            "seed": self.seed,
        }
