import functools
import math
from collections.abc import Sequence

from keras import ops

from tfdgm.layers import DownRightConv2D, VerticalConv2D, take_row, update_slice
from tfdgm.networks.colour_coupling import ColourCoupling
from tfdgm.networks.image_network import ImageNetwork
from tfdgm.networks.pixelcnn_plus_plus_stream import PixelCNNPlusPlusStream, at_each_pixel, nin


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

    With more than one channel, that is one mixture a pixel over its colours together, from which come the parameters
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
      num_components: K, where params are those of a `families.DiscretizedLogisticMixture`, else None. With more than one channel
        they must be, and `levels` be given.
      filters: width of u and ul.
      num_resnets: blocks on a level, in each direction.
      num_downsamplings: how often height and width are halved.
      dropout: rate within the blocks, in training only.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    family_defaults = {"levels": 256, "num_components": 10}

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        num_components: int | None = None,
        filters: int = 32,
        num_resnets: int = 1,
        num_downsamplings: int = 2,
        dropout: float = 0.5,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(event_shape, params_size, levels=levels, condition_shape=condition_shape, **kwargs)
        self.num_components, self.filters, self.num_resnets = num_components, filters, num_resnets
        self.num_downsamplings, self.dropout_rate, self.seed = num_downsamplings, dropout, seed
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
            if not levels or not num_components or params_size != 3 * num_components:
                raise ValueError(
                    f"The {channels} channels are joined by a mixture of discretized logistics: `levels`, `num_components` and a "
                    "`params_size` of 3 a component must be given. "
                    f"Received: levels={levels}, num_components={num_components}, params_size={params_size}"
                )
            self.coupling = ColourCoupling(levels, num_components, channels)
        # One more channel, of ones, tells the image from what lies around it.
        self.first_u = VerticalConv2D(channels + 1, filters, 3, dtype=policy)
        self.first_above = VerticalConv2D(channels + 1, filters, 3, mask_type="A", dtype=policy)
        self.first_left = nin(channels + 1, filters, policy)
        shape = num_resnets, num_downsamplings
        size = None if condition_shape is None else math.prod(self.condition_shape)
        shared = {"dropout": dropout, "condition_size": size, "dtype": policy}
        vertical = functools.partial(VerticalConv2D, kernel_size=3)
        self.u = PixelCNNPlusPlusStream(vertical, 3, filters, *shape, is_linked=False, seed=seed, **shared)
        self.ul = PixelCNNPlusPlusStream(DownRightConv2D, 2, filters, *shape, is_linked=True, seed=seed + 1000, **shared)
        self.head = nin(filters, params_size if self.coupling is None else self.coupling.size, policy, use_bias=True)
        self.built = True

    def call(self, x, condition=None, training=None):
        x = self._as_image(self.seen(x))
        padded = ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)
        above = ops.pad(padded[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
        left = ops.pad(padded[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
        condition = self._flat(condition)
        _, links = self._of_image(self.u, 0, self.first_u(above), condition, training)
        y = self.first_above(padded) + at_each_pixel(self.first_left, left)
        y, _ = self._of_image(self.ul, 0, y, condition, training, links)
        # Under a mixed policy, layers compute in less precision than the network.
        features = ops.cast(at_each_pixel(self.head, ops.elu(y)), self.compute_dtype)
        return self._as_params(features if self.coupling is None else self.coupling(features, x))

    def _of_image(self, stream, level, y, condition, training, links=None):
        """(y, (its values after each block, those on the level below)) of a stream on a level; links are such values of u."""

        def block(k, y, skip):
            link = None if links is None else links[0][k]
            y = stream.blocks[level][k].run(y, link, skip, condition, training)
            return y, y

        def coarser(y):
            below = None if links is None else links[1]
            y, values = self._of_image(stream, level + 1, stream.down[level](y), condition, training, below)
            return stream.up[level](y), values

        y, *values = stream.run(level, y, block, coarser)
        return y, values

    def _flat(self, condition):
        return None if self.condition_shape is None else ops.reshape(condition, (-1, math.prod(self.condition_shape)))

    # Rows of features are kept as [1 + width, n, filters], with zeros to the left of the image. What is kept of each level, from
    # the finest on, stands in a list: a level gets the part that begins with it, and returns that part renewed.

    def initial_state(self, batch_size, condition=None):
        n, condition, f = batch_size, self._flat(condition), self.filters

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
        above, row = [], []
        for level, blocks in enumerate(self.u.blocks):
            width, is_last = self.width // 2**level, level == self.num_downsamplings
            above.append(
                {
                    "u": [(block.conv_1.initial_rows(n, width), block.conv_2.initial_rows(n, width)) for block in blocks],
                    "u_down": [] if is_last else self.u.down[level].initial_rows(n, width),
                    # What the row above adds to the convolutions of all blocks.
                    "ul": zeros(width, n, 3 * f * len(blocks)),
                }
            )
            # What the convolutions saw, side by side.
            row.append({"ul": zeros(1 + width, n, sum(self._seen_sizes(level)))})
            if level:
                # What the row above adds to the convolution that leads here; what leads back, of two rows.
                above[-1] |= {"down": zeros(width, n, f), "up": zeros(2, n, 1, 2 * width, f)}
                row[-1] |= {"up": zeros(width, n, 4 * f)}  # Of two rows of two pixels.
        x = ops.concatenate([zeros(self.width, n, self.num_channels), zeros(self.width, n, 1) + 1], axis=-1)
        above = {
            "i": ops.convert_to_tensor(0),
            "first_u": self.first_u.initial_rows(n, self.width),
            "first_ul": zeros(self.width, n, f),
            "levels": above,
        }
        row = {
            "x": ops.pad(x, [[1, 0], [0, 0], [0, 0]]),
            "levels": row,
            "pixel": zeros(n, self.params_size) if self.coupling is None else self.coupling.start(zeros(n, self.coupling.size)),
        }
        return weights, above, row

    def _seen_sizes(self, level):
        """Features that each convolution of stream ul sees on a level: two in each block, and the one that leads to the next."""
        return [2 * self.filters] * (2 * len(self.ul.blocks[level])) + [self.filters] * (level < self.num_downsamplings)

    def start_row(self, i, weights, above, row):
        x = ops.transpose(row["x"][1:], (1, 0, 2))[:, None] * ops.cast(i > 0, self.compute_dtype)
        y, first_u = self.first_u.step(x, weights["first_u"], above["first_u"])
        first_ul, _ = self.first_above.step(x, weights["first_above"], self.first_above.initial_rows(ops.shape(x)[0], self.width))
        _, levels = self._of_row(0, i, y, weights, above["levels"], row)
        return {"i": i, "first_u": first_u, "first_ul": _by_column(first_ul), "levels": levels}

    def _of_row(self, level, i, y, weights, levels, row):
        """(y [n, 1, width, filters], `levels` renewed) of stream u at row i, on a level and those below."""
        (kept, *deeper), blocks_ul = levels, self.ul.blocks[level]
        (weights_u, weights_u_down), (weights_ul, weights_ul_down) = weights["u"][level], weights["ul"][level]
        seen = _split(row["levels"][level]["ul"], self._seen_sizes(level))

        def block(k, y, skip):
            y, rows = self.u.blocks[level][k].step_row(y, skip, weights_u[k], kept["u"][k])
            return y, (rows, blocks_ul[k].of_link(y))

        def coarser(y):
            down, up = self.u.down[level], self.u.up[level]

            def below(levels):
                x, _ = down.step(y, weights_u_down, kept["u_down"])
                x, (first, *rest) = self._of_row(level + 1, i, x, weights, levels, row)
                x = up(x)
                of_ul = self.ul.down[level].start_row(weights_ul_down, seen[-1])
                return [{**first, "down": of_ul, "up": ops.stack([x[:, :1], x[:, 1:]])}, *rest]

            levels = _at_most_once(ops.equal(i % 2 ** (level + 1), 0), below, deeper)
            return levels[0]["up"][i // 2**level % 2], (down.keep(y, kept["u_down"]), levels)

        y, of_blocks, of_coarser = self.u.run(level, y, block, coarser)
        u_down, deeper = of_coarser or ([], [])
        rows, links = zip(*of_blocks, strict=True)
        of_ul, links = [], _split(_by_column(ops.concatenate(links, axis=-1)), [self.filters] * len(links))
        for k, (block_ul, link, (first, second)) in enumerate(zip(blocks_ul, links, weights_ul, strict=True)):
            of_ul.append(block_ul.conv_1.start_row(first, seen[2 * k]) + link)
            of_ul.append(block_ul.conv_2.start_row(second, seen[2 * k + 1]))
        return y, [{**kept, "u": list(rows), "u_down": u_down, "ul": ops.concatenate(of_ul, axis=-1)}, *deeper]

    def see_in_row(self, column, channel, x, row):
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
        y = take_row(above["first_ul"], j) + ops.matmul(take_row(row["x"], j), weights["first_left"])
        y, levels = self._of_pixel(0, j, y, weights, above, row["levels"])
        kernel, bias = weights["head"]
        pixel = ops.matmul(ops.elu(y), kernel) + bias
        return {**row, "levels": levels, "pixel": pixel if self.coupling is None else self.coupling.start(pixel)}

    def _of_pixel(self, level, j, y, weights, above, levels):
        """(y [n, filters], `levels` renewed) of stream ul at column j, on a level and those below."""
        (kept, *deeper), of_row, column = levels, above["levels"], j // 2**level
        blocks, (weights_ul, weights_down) = self.ul.blocks[level], weights["ul"][level]
        left = _split(take_row(kept["ul"], column), self._seen_sizes(level))
        above_ul = _split(take_row(of_row[level]["ul"], column), [self.filters, 2 * self.filters] * len(blocks))

        def block(k, y, skip):
            two = slice(2 * k, 2 * k + 2)
            return blocks[k].step(y, skip, weights_ul[k], above_ul[two], left[two])

        def coarser(y):
            down, up, column_below = self.ul.down[level], self.ul.up[level], column // 2

            def below(levels):
                x = down.step(weights_down, take_row(of_row[level + 1]["down"], column_below), left[-1], y)
                x, (first, *rest) = self._of_pixel(level + 1, j, x, weights, above, levels)
                x = up.step(weights["up"][level], x)
                return [{**first, "up": update_slice(first["up"], [column_below, 0, 0], x[None])}, *rest]

            levels = _at_most_once(ops.equal((above["i"] | j) % 2 ** (level + 1), 0), below, deeper)
            four = ops.reshape(take_row(levels[0]["up"], column_below), (-1, 4, self.filters))
            return four[:, above["i"] // 2**level % 2 * 2 + column % 2], ([y], levels)

        y, of_blocks, of_coarser = self.ul.run(level, y, block, coarser)
        seen_down, deeper = of_coarser or ([], [])
        seen = ops.concatenate([*(u for two in of_blocks for u in two), *seen_down], axis=-1)
        return y, [{**kept, "ul": update_slice(kept["ul"], [column + 1, 0, 0], seen[None])}, *deeper]

    def start_at(self, params):
        of_colours = ops.mean(ops.reshape(params, (-1, self.num_channels, self.params_size)), axis=0)
        self.head.bias.assign(of_colours[0] if self.coupling is None else self.coupling.features_of(of_colours))

    def get_config(self):
        return {
            **self._common_config(),
            "num_components": self.num_components,
            "filters": self.filters,
            "num_resnets": self.num_resnets,
            "num_downsamplings": self.num_downsamplings,
            "dropout": self.dropout_rate,
            "seed": self.seed,
        }


def _at_most_once(condition, body, state):
    """`state`, or where the condition holds body(state). Unlike a branch, a loop changes it in place."""
    times = ops.cast(condition, "int32")
    start = ops.convert_to_tensor(0), state
    return ops.while_loop(lambda k, _: k < times, lambda k, state: (k + 1, body(state)), start)[1]


def _split(x, sizes):
    return ops.split(x, [sum(sizes[:at]) for at in range(1, len(sizes))], axis=-1)


def _by_column(y):
    """[n, 1, width, filters] -> [width, n, filters]."""
    return ops.transpose(y[:, 0], (1, 0, 2))
