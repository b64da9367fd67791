import functools
import math

import keras
from keras import ops

from tfdgm.layers import DownRightConv2D, Dropout, ShiftedConv2DTranspose, VerticalConv2D, take_row, update_slice
from tfdgm.networks.colour_coupling import ColourCoupling
from tfdgm.networks.image_network import ImageNetwork


class PixelCNNPlusPlus(ImageNetwork):
    """Two streams of gated residual blocks, down to coarser images and up again: PixelCNN++, Salimans et al. 2017,
    arXiv:1701.05517, section 2 and figure 2, with layers as in the authors' code; generated from as in Ramachandran et al. 2017,
    arXiv:1704.06001.

    Stream u sees the rows above a pixel; stream ul the pixels to its left too, and u through 1 x 1 convolutions (nin). With
    convolutions over 2 x 3 pixels (u: its own row and the one above) or 2 x 2 (ul), and g(x) = elu([x, -x]), a block is

        x + a * sigmoid(b),  [a, b] = conv(dropout(g(conv(g(x)) + nin(g(u)) + nin(g(skip))))) + W c

    with nin(g(u)) in stream ul only, nin(g(skip)) on the way up only. Level l holds the image at 1 / 2^l of its height and width:
    `num_resnets` blocks on the way down, then a convolution of stride 2 to the next level; from there a transposed one, and as
    many blocks and one more on the way up (on the coarsest level no more), each with its mirror image as the skip. At the end
    params = nin(elu(ul)).

    With `levels` and more than one channel, that is one mixture a pixel over its colours together, from which come the parameters
    of each colour given those before it: see `ColourCoupling`.

    The paper's network for CIFAR-10 has event_shape=(32, 32, 3), levels=256, params_size=30, filters=160, num_resnets=5 and
    num_downsamplings=2: 53,659,080 weights in the authors' code, 53,610,020 here. 40,420 of the difference are the lengths of
    weight normalization, which we leave out with its initialisation from data (second convolutions start at a tenth of the usual
    scale, as there); 7,840 are biases of nins, which stand beside another bias; 800 are a tap of the first layer that is there
    twice, and its bias. The condition's W is without bias, in each block of both streams, as there.

    Generating, row i computes stream u, and pixel (i, j) stream ul, on level l only where 2^l divides i (and j).

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels); height and width are multiples of 2^num_downsamplings.
      params_size: parameters per sub-pixel.
      levels: L, where params are those of `families.DiscretizedLogisticMixture`; needed for more than one channel.
      filters: width of u and ul.
      num_resnets: blocks on a level, in each direction.
      num_downsamplings: how often height and width are halved.
      dropout: rate within the blocks, in training only.
      condition_shape: shape of the condition c, or None.
      seed: of dropout.
    """

    family_defaults = {"levels": 256, "num_components": 10}

    def __init__(
        self,
        event_shape,
        *,
        params_size=1,
        levels=None,
        filters=32,
        num_resnets=1,
        num_downsamplings=2,
        dropout=0.5,
        condition_shape=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(event_shape, params_size, condition_shape, **kwargs)
        self.levels, self.filters, self.num_resnets, self.num_downsamplings = levels, filters, num_resnets, num_downsamplings
        self.dropout_rate, self.seed = dropout, seed
        channels, policy = self.num_channels, self.dtype_policy
        if filters < 1 or num_resnets < 1 or num_downsamplings < 0:
            raise ValueError(
                "Expected 1 or more `filters` and `num_resnets`, and 0 or more `num_downsamplings`. "
                f"Received: filters={filters}, num_resnets={num_resnets}, num_downsamplings={num_downsamplings}"
            )
        if self.height % 2**num_downsamplings or self.width % 2**num_downsamplings:
            raise ValueError(
                f"Height and width must be multiples of 2^num_downsamplings={2**num_downsamplings}. "
                f"Received: event_shape={self.event_shape}"
            )
        self.coupling = None
        if channels > 1:
            if levels is None or params_size % 3:
                raise ValueError(
                    f"The {channels} channels are joined by a mixture of discretized logistics: `levels` and a `params_size` of "
                    f"3 a component must be given. Received: levels={levels}, params_size={params_size}"
                )
            self.coupling = ColourCoupling(levels, params_size // 3, channels)
        # One more channel, of ones, tells the image from what lies around it.
        self.first_u = VerticalConv2D(channels + 1, filters, 3, dtype=policy)
        self.first_above = VerticalConv2D(channels + 1, filters, 3, mask_type="A", dtype=policy)
        self.first_left = _nin(channels + 1, filters, policy)
        shape = num_resnets, num_downsamplings
        size = None if condition_shape is None else math.prod(self.condition_shape)
        shared = {"dropout": dropout, "condition_size": size, "dtype": policy}
        vertical = functools.partial(VerticalConv2D, kernel_size=3)
        self.u = _Stream(vertical, 3, filters, *shape, is_linked=False, seed=seed, **shared)
        self.ul = _Stream(DownRightConv2D, 2, filters, *shape, is_linked=True, seed=seed + 1000, **shared)
        self.head = _nin(filters, params_size if self.coupling is None else self.coupling.size, policy, use_bias=True)
        self.built = True

    def call(self, x, condition=None, training=None):
        x = self._as_image(x)
        padded = ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)
        above = ops.pad(padded[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
        left = ops.pad(padded[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
        condition, links = self._flat(condition), {}

        def run(stream, level, y):
            def block(k, y, skip=None):
                layer = stream.blocks[level][k]
                terms = layer.terms(link=links.get((level, k)), skip=skip)
                of_condition = layer.of_condition(condition)
                links[level, k] = y = layer.apply(
                    y,
                    lambda y: sum(terms, layer.conv_1(y)),
                    lambda y: layer.conv_2(y) + (0.0 if of_condition is None else of_condition),
                    training=training,
                )
                return y

            def coarser(y):
                return stream.up[level](run(stream, level + 1, stream.down[level](y)))

            return stream.run(level, y, block, coarser)

        run(self.u, 0, self.first_u(above))
        ul = run(self.ul, 0, self.first_above(padded) + _at_each_pixel(self.first_left, left))
        # Under a mixed policy, layers compute in less precision than the network.
        features = ops.cast(_at_each_pixel(self.head, ops.elu(ul)), self.compute_dtype)
        return self._as_params(features if self.coupling is None else self.coupling(features, x))

    def _flat(self, condition):
        return None if self.condition_shape is None else ops.reshape(condition, (-1, math.prod(self.condition_shape)))

    # Rows of features are kept as [1 + width, n, filters], with zeros to the left of the image.

    def initial_state(self, batch_size, condition=None):
        n, condition, f = batch_size, self._flat(condition), self.filters
        widths = [self.width // 2**level for level in range(self.num_downsamplings + 1)]

        def zeros(*shape):
            return ops.zeros(shape, self.compute_dtype)

        weights = {
            "u": self.u.prepared(condition),
            "ul": self.ul.prepared(condition),
            "up": [layer.prepared() for layer in self.ul.up],
            "first_u": self.first_u.prepared(),
            "first_above": self.first_above.prepared(),
            "first_left": ops.cast(self.first_left.kernel, self.compute_dtype),
            "head": [ops.cast(weight, self.compute_dtype) for weight in (self.head.kernel, self.head.bias)],
        }
        convs_of_u, convs_of_ul = self.u.convolutions, self.ul.convolutions
        above = {
            "i": ops.convert_to_tensor(0),
            "first_u": self.first_u.initial_rows(n, self.width),
            "first_ul": zeros(self.width, n, f),
            "u": [[c.initial_rows(n, w) for c in convs] for convs, w in zip(convs_of_u, widths, strict=True)],
            # What the rows above add to the convolutions of all blocks, and to those that lead to the next level.
            "ul": [zeros(w, n, 3 * f * len(blocks)) for blocks, w in zip(self.ul.blocks, widths, strict=True)],
            "down": [zeros(w, n, f) for w in widths[1:]],
            "from_coarser": [zeros(2, n, 1, w, f) for w in widths[:-1]],  # Of two rows.
        }
        x = ops.concatenate([zeros(self.width, n, self.num_channels), zeros(self.width, n, 1) + 1], axis=-1)
        row = {
            "x": ops.pad(x, [[1, 0], [0, 0], [0, 0]]),
            # What the convolutions of a level saw, side by side.
            "ul": [zeros(1 + w, n, sum(c.in_filters for c in convs)) for convs, w in zip(convs_of_ul, widths, strict=True)],
            "from_coarser": [zeros(w, n, 4 * f) for w in widths[1:]],  # Of two rows of two pixels.
            "pixel": zeros(n, self.params_size) if self.coupling is None else self.coupling.start(zeros(n, self.coupling.size)),
        }
        return weights, above, row

    def start_row(self, i, weights, above, row):
        new = {key: list(above[key]) for key in ("ul", "down", "from_coarser")}
        new["u"] = [list(level) for level in above["u"]]

        def run(level, y):
            rows, of_ul, links, convs = new["u"][level], [], [], self.ul.convolutions[level]
            seen = _split(row["ul"][level], [conv.in_filters for conv in convs])

            def convolve(at, y):
                y, rows[at] = self.u.convolutions[level][at].step(y, weights["u"][level][at], rows[at])
                return y

            def block(k, y, skip=None):
                at, layer = self.u.at(level, k), self.u.blocks[level][k]
                terms = layer.terms(skip=skip)
                y = layer.apply(y, lambda y: sum(terms, convolve(at, y)), lambda y: convolve(at + 1, y))
                first, second = (convs[c].start_row(weights["ul"][level][c], seen[c]) for c in (at, at + 1))
                links.extend(self.ul.blocks[level][k].terms(link=y))
                of_ul.extend([first, second])
                return y

            def coarser(y):
                at, down = self.u.at_down, self.u.down[level]
                kept, rows[at] = rows[at], down.keep(y, rows[at])

                def below():
                    return {key: new[key][start:] for key, start in deeper.items()}

                def set_below(state):
                    for key, start in deeper.items():
                        new[key][start:] = state[key]

                def body(k, state):
                    set_below(state)
                    new["down"][level] = convs[at].start_row(weights["ul"][level][at], seen[at])
                    x = self.u.up[level](run(level + 1, down.step(y, weights["u"][level][at], kept)[0]))
                    new["from_coarser"][level] = ops.stack([x[:, :1], x[:, 1:]])
                    return k + 1, below()

                deeper = {"u": level + 1, "ul": level + 1, "down": level, "from_coarser": level}
                set_below(_at_most_once(ops.equal(i % 2 ** (level + 1), 0), body, below()))
                return new["from_coarser"][level][i // 2**level % 2]

            y = self.u.run(level, y, block, coarser)
            links = _split(_by_column(ops.concatenate(links, axis=-1)), [self.filters] * len(links))
            of_ul[::2] = [first + link for first, link in zip(of_ul[::2], links, strict=True)]
            new["ul"][level] = ops.concatenate(of_ul, axis=-1)
            return y

        x = ops.transpose(row["x"][1:], (1, 0, 2))[:, None] * ops.cast(i > 0, self.compute_dtype)
        y, new["first_u"] = self.first_u.step(x, weights["first_u"], above["first_u"])
        first_ul, _ = self.first_above.step(x, weights["first_above"], self.first_above.initial_rows(ops.shape(x)[0], self.width))
        run(0, y)
        return {**new, "i": i, "first_ul": _by_column(first_ul)}

    def see(self, column, channel, x, row):
        row = {**row, "x": update_slice(row["x"], [column + 1, 0, channel], x[None, :, None])}
        return row if self.coupling is None else {**row, "pixel": self.coupling.see(channel, x, row["pixel"])}

    def step_in_row(self, column, channel, weights, above, row):
        if not isinstance(channel, int):
            row = ops.cond(ops.equal(channel, 0), lambda: self._start_pixel(column, weights, above, row), lambda: row)
        elif channel == 0:
            row = self._start_pixel(column, weights, above, row)
        return self._of_channel(channel, row), row

    def _of_channel(self, channel, row):
        return row["pixel"] if self.coupling is None else self.coupling.of_channel(channel, row["pixel"])

    def _start_pixel(self, j, weights, above, row):
        """`row` with all that the pixel's colours share: the network runs once a pixel."""
        rows, from_coarser = list(row["ul"]), list(row["from_coarser"])

        def run(level, y):
            column, convs, w, seen = j // 2**level, self.ul.convolutions[level], weights["ul"][level], []
            left = _split(take_row(rows[level], column), [conv.in_filters for conv in convs])
            above_ul = _split(take_row(above["ul"][level], column), [self.filters, 2 * self.filters] * len(self.ul.blocks[level]))

            def block(k, y, skip=None):
                at = self.ul.at(level, k)

                def conv_1(y):
                    seen.append(y)
                    y = y if skip is None else ops.concatenate([y, _concat_elu(skip)], axis=-1)
                    return convs[at].step(w[at], above_ul[2 * k], left[at], y)

                def conv_2(y):
                    seen.append(y)
                    return convs[at + 1].step(w[at + 1], above_ul[2 * k + 1], left[at + 1], y)

                return self.ul.blocks[level][k].apply(y, conv_1, conv_2)

            def coarser(y):
                seen.append(y)
                at = self.ul.at_down

                def body(k, state):
                    rows[level + 1 :], from_coarser[level:] = state
                    x = convs[at].step(w[at], take_row(above["down"][level], column // 2), left[at], y)
                    x = self.ul.up[level].step(weights["up"][level], run(level + 1, x))
                    from_coarser[level] = update_slice(from_coarser[level], [column // 2, 0, 0], x[None])
                    return k + 1, (rows[level + 1 :], from_coarser[level:])

                here = ops.equal((above["i"] | j) % 2 ** (level + 1), 0)
                rows[level + 1 :], from_coarser[level:] = _at_most_once(here, body, (rows[level + 1 :], from_coarser[level:]))
                four = ops.reshape(take_row(from_coarser[level], column // 2), (-1, 4, self.filters))
                return four[:, above["i"] // 2**level % 2 * 2 + column % 2]

            y = self.ul.run(level, y, block, coarser)
            rows[level] = update_slice(rows[level], [column + 1, 0, 0], ops.concatenate(seen, axis=-1)[None])
            return y

        y = run(0, take_row(above["first_ul"], j) + ops.matmul(take_row(row["x"], j), weights["first_left"]))
        kernel, bias = weights["head"]
        pixel = ops.matmul(ops.elu(y), kernel) + bias
        pixel = pixel if self.coupling is None else self.coupling.start(pixel)
        return {**row, "ul": rows, "from_coarser": from_coarser, "pixel": pixel}

    def start_at(self, params):
        of_colours = ops.mean(ops.reshape(params, (-1, self.num_channels, self.params_size)), axis=0)
        self.head.bias.assign(of_colours[0] if self.coupling is None else self.coupling.features_of(of_colours))

    def get_config(self):
        return {
            **super().get_config(),
            "event_shape": self.event_shape,
            "params_size": self.params_size,
            "levels": self.levels,
            "filters": self.filters,
            "num_resnets": self.num_resnets,
            "num_downsamplings": self.num_downsamplings,
            "dropout": self.dropout_rate,
            "condition_shape": self.condition_shape,
            "seed": self.seed,
        }


class _Stream(keras.layers.Layer):
    """One stream's layers, and the order in which they run: down through the levels and up again."""

    def __init__(
        self, conv, kernel_width, filters, num_resnets, num_downsamplings, *, is_linked, dropout, condition_size, seed, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_resnets, self.num_downsamplings, self.is_linked = num_resnets, num_downsamplings, is_linked
        policy = self.dtype_policy
        self.blocks, self.down, self.up = [], [], []
        for level in range(num_downsamplings + 1):
            count = 2 * num_resnets + (level < num_downsamplings)
            self.blocks.append(
                [
                    _GatedResnet(
                        conv,
                        filters,
                        is_linked=is_linked,
                        has_skip=k >= num_resnets,
                        dropout=dropout,
                        condition_size=condition_size,
                        seed=seed + 100 * level + k,
                        dtype=policy,
                    )
                    for k in range(count)
                ]
            )
            if level < num_downsamplings:
                self.down.append(conv(filters, filters, strides=2, dtype=policy))
                self.up.append(ShiftedConv2DTranspose(filters, filters, kernel_width, dtype=policy))
        self.built = True

    @property
    def convolutions(self):
        """[level][at]: in the order in which they run, with that which leads to the next level in the middle."""
        levels = []
        for level, blocks in enumerate(self.blocks):
            convs = [conv for block in blocks for conv in (block.conv_1, block.conv_2)]
            levels.append(convs[: self.at_down] + self.down[level : level + 1] + convs[self.at_down :])
        return levels

    @property
    def at_down(self):
        """Where, in a level's convolutions, the one is that leads to the next level."""
        return 2 * self.num_resnets

    def at(self, level, k):
        """Where, in a level's convolutions, the first of block k is."""
        return 2 * k + (k >= self.num_resnets and level < self.num_downsamplings)

    def run(self, level, y, block, coarser):
        """A level, given `block(k, y, skip=None)`, which evaluates its k-th block, and `coarser(y)`, all that lies below it."""
        skips = [y]
        for k in range(self.num_resnets):
            skips.append(block(k, skips[-1]))
        y = coarser(skips[-1]) if level < self.num_downsamplings else skips.pop()
        for k in range(self.num_resnets, self.num_resnets + len(skips)):
            y = block(k, y, skip=skips.pop())
        return y

    def prepared(self, condition):
        """[level][at]: the convolutions' prepared weights, with what the condition adds in the biases, and in stream ul the
        weights of skips below those of the first convolutions they are added to."""
        levels = [[conv.prepared() for conv in convs] for convs in self.convolutions]
        for level, blocks in enumerate(self.blocks):
            for k, block in enumerate(blocks):
                at, term = self.at(level, k), block.of_condition(condition)
                if term is not None:
                    *kernels, bias = levels[level][at + 1]
                    # For rows [n, 1, width, features], and for [width, n, features].
                    levels[level][at + 1] = (*kernels, bias + (term[:, 0, 0] if self.is_linked else term))
                if self.is_linked and block.skip is not None:
                    above, kernel, bias = levels[level][at]
                    kernel = ops.concatenate([kernel, ops.cast(block.skip.kernel, kernel.dtype)])
                    levels[level][at] = above, kernel, bias
        return levels


class _GatedResnet(keras.layers.Layer):
    """A gated residual block, given the evaluation of its two convolutions: of an image, a row or a pixel."""

    def __init__(self, conv, filters, *, is_linked, has_skip, dropout, condition_size, seed, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        # A tenth of the usual deviation, as in the authors' code: blocks start close to the identity.
        small = keras.initializers.VarianceScaling(0.01, mode="fan_avg", distribution="uniform", seed=seed)
        self.conv_1 = conv(2 * filters, filters, dtype=policy)
        self.conv_2 = conv(2 * filters, 2 * filters, kernel_initializer=small, dtype=policy)
        self.link = _nin(2 * filters, filters, policy) if is_linked else None
        self.skip = _nin(2 * filters, filters, policy) if has_skip else None
        self.condition = _nin(condition_size, 2 * filters, policy) if condition_size else None
        self.dropout = Dropout(dropout, seed=seed, dtype=policy)
        self.built = True

    def apply(self, y, conv_1, conv_2, training=False):
        """conv_1 and conv_2 are functions: the convolutions with all that is added to them."""
        x, y = y, _concat_elu(conv_1(_concat_elu(y)))
        a, b = ops.split(conv_2(self.dropout(y, training=training)), 2, axis=-1)
        return x + a * ops.sigmoid(b)

    def terms(self, link=None, skip=None):
        """What is added to the first convolution."""
        pairs = ((nin, y) for nin, y in ((self.link, link), (self.skip, skip)) if nin is not None and y is not None)
        return [_at_each_pixel(nin, _concat_elu(y)) for nin, y in pairs]

    def of_condition(self, condition):
        """What the condition [n, k] adds to the second: [n, 1, 1, 2 filters], or None."""
        return None if self.condition is None else self.condition(condition)[:, None, None]


def _nin(in_filters, filters, dtype, use_bias=False):
    dense = keras.layers.Dense(filters, use_bias=use_bias, dtype=dtype)
    dense.build((None, in_filters))
    return dense


def _at_each_pixel(dense, x):
    """A 1 x 1 convolution, as a product of two axes: convolutions, and products of more axes, start slowly."""
    y = dense(ops.reshape(x, (-1, x.shape[-1])))
    return ops.reshape(y, (-1, *x.shape[1:-1], dense.units))


def _concat_elu(x):
    return ops.elu(ops.concatenate([x, -x], axis=-1))


def _at_most_once(condition, body, state):
    """`state`, or where the condition holds what `body(k, state)` makes of it. Unlike a branch, a loop changes it in place."""
    times = ops.cast(condition, "int32")
    return ops.while_loop(lambda k, _: k < times, body, (ops.convert_to_tensor(0), state))[1]


def _split(x, sizes):
    return ops.split(x, [sum(sizes[:at]) for at in range(1, len(sizes))], axis=-1)


def _by_column(y):
    """[n, 1, width, filters] -> [width, n, filters]."""
    return ops.transpose(y[:, 0], (1, 0, 2))
