from collections.abc import Callable

import keras
from keras import ops

from tfdgm.layers import Dropout, ShiftedConv2DTranspose


class PixelCNNPlusPlusStream(keras.layers.Layer):
    """One stream of a `PixelCNNPlusPlus`: its layers on each level, and the order in which they run.

    Args:
      conv: the class of its convolutions, which takes (in_filters, filters).
      kernel_width: of the transposed convolutions.
      filters: width of the stream.
      num_resnets: blocks on a level, in each direction.
      num_downsamplings: levels below the first.
      is_linked: whether the blocks see the other stream.
      dropout: rate within the blocks.
      condition_size: length of the condition, or None.
      seed: of dropout, and of the initial weights of the blocks' second convolutions.
    """

    def __init__(
        self,
        conv: Callable,
        kernel_width: int,
        filters: int,
        num_resnets: int,
        num_downsamplings: int,
        *,
        is_linked: bool,
        dropout: float,
        condition_size: int | None,
        seed: int,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_resnets, self.num_downsamplings, self.is_linked = num_resnets, num_downsamplings, is_linked
        shared = {"is_linked": is_linked, "dropout": dropout, "condition_size": condition_size, "dtype": self.dtype_policy}
        #: blocks[level][k]; down[level] leads to the level below, and up[level] back from it.
        self.blocks, self.down, self.up = [], [], []
        for level in range(num_downsamplings + 1):
            has_skip = [False] * num_resnets + [True] * (num_resnets + (level < num_downsamplings))
            seeds = range(seed + 100 * level, seed + 100 * level + len(has_skip))
            blocks = zip(has_skip, seeds, strict=True)
            self.blocks.append([_GatedResnet(conv, filters, has_skip=skip, seed=of_block, **shared) for skip, of_block in blocks])
            if level < num_downsamplings:
                self.down.append(conv(filters, filters, strides=2, dtype=self.dtype_policy))
                self.up.append(ShiftedConv2DTranspose(filters, filters, kernel_width, dtype=self.dtype_policy))
        self.built = True

    def run(self, level, y, block, coarser):
        """All of a level: `block(k, y, skip)` is its k-th block, and `coarser(y)` what lies below it; each returns (y, what is
        kept of it). Returns (y, [what is kept of each block], what is kept of what lies below, or None)."""
        skips, of_blocks, below = [y], [], None
        for k in range(self.num_resnets):
            y, kept = block(k, y, None)
            skips.append(y)
            of_blocks.append(kept)
        if level < self.num_downsamplings:
            y, below = coarser(y)
        else:
            skips.pop()
        for k in range(self.num_resnets, len(self.blocks[level])):
            y, kept = block(k, y, skips.pop())
            of_blocks.append(kept)
        return y, of_blocks, below

    def prepared(self, condition):
        """The weights as steps take them: of each level (those of each block, those of `down`, if any)."""
        down = [*(conv.prepared() for conv in self.down), ()]
        return [([block.prepared(condition) for block in blocks], w) for blocks, w in zip(self.blocks, down, strict=True)]


class _GatedResnet(keras.layers.Layer):
    """A gated residual block, of an image (`run`), of a row in stream u (`step_row`) or of a pixel in stream ul (`step`)."""

    def __init__(self, conv, filters, *, is_linked, has_skip, dropout, condition_size, seed, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        # A tenth of the usual deviation, as in the authors' code: blocks start close to the identity.
        small = keras.initializers.VarianceScaling(0.01, mode="fan_avg", distribution="uniform", seed=seed)
        self.conv_1 = conv(2 * filters, filters, dtype=policy)
        self.conv_2 = conv(2 * filters, 2 * filters, kernel_initializer=small, dtype=policy)
        self.link = nin(2 * filters, filters, policy) if is_linked else None
        self.skip = nin(2 * filters, filters, policy) if has_skip else None
        self.condition = nin(condition_size, 2 * filters, policy) if condition_size else None
        self.dropout = Dropout(dropout, seed=seed, dtype=policy)
        self.built = True

    def run(self, y, link=None, skip=None, condition=None, training=None):
        """y, link (stream u at this block) and skip [n, height, width, filters] -> [n, height, width, filters]."""
        first = self.conv_1(_concat_elu(y))
        first = first if link is None else first + self.of_link(link)
        first = first if skip is None else first + self._of_skip(skip)
        second = self.conv_2(self.dropout(_concat_elu(first), training=training))
        return _gated(y, second if condition is None else second + self._of_condition(condition))

    def of_link(self, link):
        """What stream u adds to the first convolution."""
        return at_each_pixel(self.link, _concat_elu(link))

    def _of_skip(self, skip):
        return at_each_pixel(self.skip, _concat_elu(skip))

    def _of_condition(self, condition):
        """What the condition [n, k] adds to the second convolution: [n, 1, 1, 2 filters]."""
        return self.condition(condition)[:, None, None]

    def prepared(self, condition):
        """The weights of both convolutions: the condition's part is in the second's bias, and the kernel of the skip in stream ul
        below that of the first, of which it is one more input."""
        first, (*kernels, bias) = self.conv_1.prepared(), self.conv_2.prepared()
        is_of_pixels = self.link is not None
        if self.condition is not None:
            term = self._of_condition(condition)
            # For rows [n, 1, width, features], and for [width, n, features].
            bias = bias + (term[:, 0, 0] if is_of_pixels else term)
        if is_of_pixels and self.skip is not None:
            above, kernel, first_bias = first
            first = above, ops.concatenate([kernel, ops.cast(self.skip.kernel, kernel.dtype)]), first_bias
        return first, (*kernels, bias)

    def step_row(self, y, skip, weights, rows):
        """(y [n, 1, width, filters] of one row, the rows kept) of stream u."""
        first, rows_1 = self.conv_1.step(_concat_elu(y), weights[0], rows[0])
        first = first if skip is None else first + self._of_skip(skip)
        second, rows_2 = self.conv_2.step(_concat_elu(first), weights[1], rows[1])
        return _gated(y, second), (rows_1, rows_2)

    def step(self, y, skip, weights, above, left):
        """(y [n, filters] at one pixel, what both convolutions saw there) of stream ul; `above` and `left` are what the row above
        adds to each, and what each saw to the left."""
        seen = _concat_elu(y)
        joined = seen if skip is None else ops.concatenate([seen, _concat_elu(skip)], axis=-1)
        seen_2 = _concat_elu(self.conv_1.step(weights[0], above[0], left[0], joined))
        return _gated(y, self.conv_2.step(weights[1], above[1], left[1], seen_2)), [seen, seen_2]


def nin(in_filters, filters, dtype, use_bias=False):
    """A 1 x 1 convolution; see `at_each_pixel`."""
    dense = keras.layers.Dense(filters, use_bias=use_bias, dtype=dtype)
    dense.build((None, in_filters))
    return dense


def at_each_pixel(dense, x):
    """A 1 x 1 convolution, as a product of two axes: convolutions, and products of more axes, start slowly."""
    y = dense(ops.reshape(x, (-1, x.shape[-1])))
    return ops.reshape(y, (-1, *x.shape[1:-1], dense.units))


def _gated(x, y):
    a, b = ops.split(y, 2, axis=-1)
    return x + a * ops.sigmoid(b)


def _concat_elu(x):
    return ops.elu(ops.concatenate([x, -x], axis=-1))
