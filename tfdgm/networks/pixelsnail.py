import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.layers import CausalAttention, Dropout, MaskedConv2D, take_row, update_slice
from tfdgm.networks.image_network import ImageNetwork


class PixelSNAIL(ImageNetwork):
    """Causal convolutions and attention in turn: Chen et al. 2017, arXiv:1712.09763, figures 2-4. In each of B blocks

        h <- residual(h)                                        num_layers times, by 2 x 2 convolutions, with condition c
        k, v = conv(residual([x, h, place])),  q = conv(residual([h, place]))
        h <- residual(h; a),  a = attention(q, k, v)            by 1 x 1 convolutions, as are those of k, v and q

    residual(h; a) = h + gate(conv(elu(conv(elu(h)) + conv_1x1(elu(a)))) + U c),  gate([y, z]) = y * sigmoid(z)
    params = conv_1x1(elu(h))

    The first h is a convolution of the pixels around (3 x 3) that came before. `place` is a pixel's row and column, each within
    -1/2..1/2. Attention is to finished pixels alone, those before the one at hand: their x is among the features of k and v.
    So it reaches every pixel before, and closes the blind spot of 2 x 2 kernels to the right in the rows above.

    The paper, and its code, predict a pixel's colours jointly; here each colour has its own features, as in `PixelCNN`, and its
    own head of attention. Weights are not normalized, no channel of ones marks the image, and c enters the convolutional blocks
    alone.

    The state holds two rows of activations a layer and, for attention, keys and values of every pixel.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels).
      params_size: parameters per sub-pixel.
      filters: width of h, a multiple of 2 channels; values have half as many. The paper: 256.
      num_blocks: B, each with one attention. The paper: 12.
      num_layers: convolutional residual blocks before each attention. The paper: 4 (ImageNet: 5).
      key_size: features of q and k for each colour. The paper: 16.
      dropout: rate within each residual block, in training only.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        filters: int = 72,
        num_blocks: int = 2,
        num_layers: int = 4,
        key_size: int = 16,
        dropout: float = 0.0,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(event_shape, params_size, levels=levels, condition_shape=condition_shape, **kwargs)
        self.filters, self.num_blocks, self.num_layers, self.key_size = filters, num_blocks, num_layers, key_size
        self.dropout_rate, self.seed = dropout, seed
        channels = self.num_channels
        if filters < 1 or filters % (2 * channels):
            raise ValueError(f"`filters` must be a multiple of {2 * channels}. Received: filters={filters}")
        check_whole(num_blocks=num_blocks, num_layers=num_layers, key_size=key_size)
        common = {"dropout": dropout, "dtype": self.dtype_policy}
        condition_size = None if condition_shape is None else math.prod(self.condition_shape)
        self.first = MaskedConv2D(channels, filters, 3, mask_type="A", num_channels=channels, dtype=self.dtype_policy)
        self.blocks = []
        for _ in range(num_blocks):
            for _ in range(num_layers):
                seed += 1
                convolution = {"kernel_size": 2, "num_channels": channels, "condition_size": condition_size}
                self.blocks.append(_Residual(filters, **convolution, seed=seed, **common))
            seed += 3
            self.blocks.append(_Attention((self.height, self.width, channels), filters, key_size, seed=seed, **common))
        self.last = MaskedConv2D(filters, channels * params_size, 1, num_channels=channels, dtype=self.dtype_policy)
        self.built = True

    def call(self, x, condition=None, training=None):
        x = self._as_image(self.seen(x))
        h = self.first(x)
        for block in self.blocks:
            h = block(h, x, self._as_pixel(condition), training=training)
        return self._as_params(self.last(ops.elu(h)))

    def _as_pixel(self, condition):
        return None if condition is None else ops.reshape(condition, (-1, 1, 1, math.prod(self.condition_shape)))

    def initial_state(self, batch_size, condition=None):
        condition = self._as_pixel(condition)
        states = [
            self.first.initial_state(batch_size, self.width),
            *(block.initial_state(batch_size, self.width, condition) for block in self.blocks),
            self.last.initial_state(batch_size, self.width),
        ]
        return tuple(list(part) for part in zip(*states, strict=True))

    def start_row(self, i, weights, above, row):
        blocks = zip(self.blocks, weights[1:-1], above[1:-1], row[1:-1], strict=True)
        first = self.first.start_row(weights[0], above[0], row[0])
        return [first, *(block.start_row(i, w, a, r) for block, w, a, r in blocks), above[-1]]

    def see_in_row(self, column, channel, x, row):
        return [self.first.write(column, channel, x[:, None], row[0]), *row[1:]]

    def step_in_row(self, column, channel, weights, above, row):
        row = list(row)
        h = self.first.read(column, channel, weights[0], above[0], row[0])
        # The pixel before: at the start of a row, the last one of the row above, which is still there.
        x_before = self.first.seen_at((column + self.width - 1) % self.width, row[0])
        for i, block in enumerate(self.blocks, 1):
            h, row[i] = block.step(column, channel, h, x_before, weights[i], above[i], row[i])
        params, row[-1] = self.last.step(column, channel, ops.elu(h), weights[-1], above[-1], row[-1])
        return params, row

    def output_biases(self):
        return [self.last.bias]

    def get_config(self):
        return {
            **self._common_config(),
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "num_layers": self.num_layers,
            "key_size": self.key_size,
            "dropout": self.dropout_rate,
            "seed": self.seed,
        }


class _Residual(keras.layers.Layer):
    """h + gate(conv(elu(conv(elu(h)) + conv_1x1(elu(a)))) + U c); a has `extra` features."""

    def __init__(self, filters, *, kernel_size=1, num_channels=1, extra=None, condition_size=None, dropout=0.0, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.num_channels = num_channels
        common = {"num_channels": num_channels, "dtype": self.dtype_policy}
        self.first = MaskedConv2D(filters, filters, kernel_size, **common)
        # A tenth of the usual deviation, as in the authors' code: h starts out as what it was.
        small = keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform")
        self.second = MaskedConv2D(filters, 2 * filters, kernel_size, kernel_initializer=small, **common)
        self.link = None if extra is None else MaskedConv2D(extra, filters, 1, **common)
        self.dropout = Dropout(dropout, seed=seed, dtype=self.dtype_policy)
        self.condition_dense = None
        if condition_size is not None:
            self.condition_dense = keras.layers.Dense(2 * filters, use_bias=False, dtype=self.dtype_policy)
            self.condition_dense.build((None, condition_size))
        self.built = True

    def call(self, h, x=None, condition=None, a=None, training=None):
        y = self.first(ops.elu(h))
        y = y if a is None else y + self.link(ops.elu(a))
        y = self.second(self.dropout(ops.elu(y), training=training))
        y = y if condition is None else y + self.condition_dense(condition)
        grouped = ops.reshape(y, (-1, *h.shape[1:3], self.num_channels, y.shape[-1] // self.num_channels))
        return h + ops.reshape(_gate(grouped), (-1, *h.shape[1:]))

    def initial_state(self, batch_size, width, condition=None):
        layers = [layer.initial_state(batch_size, width) for layer in self._layers_in_order]
        weights, above, row = (list(part) for part in zip(*layers, strict=True))
        return (weights, [] if condition is None else [self.condition_dense(condition)]), above, row

    def start_row(self, i, weights, above, row):
        weights, condition = weights
        first = self.first.start_row(weights[0], above[0], row[0])
        second = self.second.start_row(weights[1], above[1], row[1], offset=condition[0] if condition else None)
        return [first, second, *above[2:]]

    def step(self, column, channel, h, x_before, weights, above, row, a=None):
        weights, row = weights[0], list(row)
        y, row[0] = self.first.step(column, channel, ops.elu(h), weights[0], above[0], row[0])
        if a is not None:
            added, row[2] = self.link.step(column, channel, ops.elu(a), weights[2], above[2], row[2])
            y = y + added
        y, row[1] = self.second.step(column, channel, ops.elu(y), weights[1], above[1], row[1])
        return h + _gate(y), row

    @property
    def _layers_in_order(self):
        return [self.first, self.second, *([] if self.link is None else [self.link])]


class _Attention(keras.layers.Layer):
    """residual(h; attention(q, k, v)). A step makes the key and value of the pixel before, whose x is known by then."""

    def __init__(self, image_shape, filters, key_size, *, dropout=0.0, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width, channels = image_shape
        self.num_channels, self.key_size = channels, key_size
        policy = self.dtype_policy
        sizes = {"num_heads": channels, "key_size": key_size, "value_size": filters // 2 // channels}
        self.attention = CausalAttention(self.height * self.width, strict=True, **sizes, dtype=policy)
        common = {"dropout": dropout, "dtype": policy}
        # A query knows its own and earlier colours; a key and a value, of a finished pixel, all.
        q, kv = filters + 2 * channels, channels + filters + 2
        self.query_residual = _Residual(q, num_channels=channels, seed=seed, **common)
        self.query = MaskedConv2D(q, channels * key_size, 1, num_channels=channels, dtype=policy)
        self.key_value_residual = _Residual(kv, seed=seed + 1, **common)
        self.key_value = MaskedConv2D(kv, channels * key_size + filters // 2, 1, dtype=policy)
        self.out = _Residual(filters, num_channels=channels, extra=filters // 2, seed=seed + 2, **common)
        self.built = True

    def call(self, h, x, condition=None, training=None):
        place = ops.reshape(self._places(), (1, self.height, self.width, 2)) + ops.zeros_like(x[..., :1])
        key_value = self.key_value(self.key_value_residual(ops.concatenate([x, h, place], axis=-1), training=training))
        h_place = [part for u in ops.split(h, self.num_channels, axis=-1) for part in (u, place)]
        query = self.query(self.query_residual(ops.concatenate(h_place, axis=-1), training=training))
        positions = (-1, self.height * self.width)
        flat = [ops.reshape(u, (*positions, u.shape[-1])) for u in (query, *self._split(key_value))]
        a = self.attention(*flat)
        return self.out(h, a=ops.reshape(a, (-1, self.height, self.width, a.shape[-1])), training=training)

    def _places(self):
        """[height * width, 2]"""
        places = np.indices((self.height, self.width)).reshape(2, -1).T / [self.height, self.width] - 0.5
        return ops.convert_to_tensor(places, self.compute_dtype)

    def _split(self, key_value):
        keys = self.num_channels * self.key_size
        return key_value[..., :keys], key_value[..., keys:]

    def initial_state(self, batch_size, width, condition=None):
        layers = [layer.initial_state(batch_size, width) for layer in self._layers_in_order]
        weights, above, row = (list(part) for part in zip(*layers, strict=True))
        h_before = ops.zeros((batch_size, 1, self.out.first.filters), self.compute_dtype)
        cache = self.attention.initial_state(batch_size)
        return (weights, self._places()), (above, ops.convert_to_tensor(0)), (row, h_before, cache)

    def start_row(self, i, weights, above, row):
        return above[0], i * self.width

    def step(self, column, channel, h, x_before, weights, above, row):
        (weights, places), (above, first), (row, h_before, cache) = weights, above, row
        t, row, n, one = first + column, list(row), ops.shape(h)[0], self.num_channels == 1

        def place(t):
            return ops.broadcast_to(take_row(places, t), (n, 2))

        def step(i, *given):
            return self._layers_in_order[i].step(column, channel, *given, weights[i], above[i], row[i])

        def with_pixel_before():
            # At t = 0 there is none; what is written is not seen, and replaced by the next step. These layers have no state.
            before = ops.maximum(t - 1, 0)
            content, _ = step(0, ops.concatenate([x_before, h_before[:, 0], place(before)], axis=-1), x_before)
            return self.attention.write(before, *self._split(step(1, content)[0]), cache)

        if one or isinstance(channel, int):
            cache = with_pixel_before() if one or channel == 0 else cache
        else:
            cache = ops.cond(ops.equal(channel, 0), with_pixel_before, lambda: cache)
        h_before = h[:, None] if one else update_slice(h_before, [0, 0, channel * h.shape[-1]], h[:, None])
        query, row[2] = step(2, ops.concatenate([h, place(t)], axis=-1), x_before)
        query, row[3] = step(3, query)
        a = self.attention.read(self.attention.seen(t), query, cache, channel)
        h, row[4] = self.out.step(column, channel, h, x_before, weights[4], above[4], row[4], a)
        return h, (row, h_before, cache)

    @property
    def _layers_in_order(self):
        return [self.key_value_residual, self.key_value, self.query_residual, self.query, self.out]


def _gate(y):
    """[..., 2 k] -> [..., k]: the first half times sigmoid of the second."""
    a, b = ops.split(y, 2, axis=-1)
    return a * ops.sigmoid(b)
