import numpy as np
import tensorflow as tf

from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.noise import uniforms
from tfdgm.frozen_random import FrozenRandom


class Dequantized(Distribution):
    """Integers x in 0..L-1 under a density p over the reals: log P(x) >= E_u log p(x + u), u uniform in [0, 1)^D.

    Theis et al. 2016, arXiv:1511.01844, eq. 6 (Jensen). `log_prob` draws u once a row, so it is one draw of this lower bound,
    and averages over a data set estimate the bound. u is a fixed pseudo-random function of the row itself: scores repeat,
    and do not depend on the batch. A sample is floor(x) of the density's sample, kept within 0..L-1.

    Args:
      density: a `Distribution` over the reals, whose x is the integer plus u (range [0, L]).
      levels: L.
    """

    is_bound = True

    def __init__(self, density, levels, *, name="dequantized"):
        super().__init__(
            density.event_shape.as_list(),
            dtype=tf.int32,
            condition_shape=density.condition_shape,
            levels=levels,
            name=name,
        )
        self.density = density
        self._hash = FrozenRandom(0).integers(1, 2**31 - 2, (self.event_size, 2)).astype(np.int32)

    def noise(self, x):
        """u for the rows x [n, *event_shape], from a seed that is a hash of the row."""
        rows = tf.reshape(tf.cast(x, tf.int32), (-1, self.event_size, 1))
        # The products wrap around, on every device alike.
        seeds = tf.reduce_sum((rows + 1) * self._hash, axis=1)
        return uniforms(seeds, self._static_event_shape, self.density.dtype)

    def training_noise(self, x, seed, step, first_row=0):
        """u for the rows x [n, *event_shape] of one training step: another for every seed, step and row.

        `first_row` is the number of x[0] in a batch that is spread over replicas.
        """
        n = tf.shape(x)[0]
        # The rows of two seeds overlap 2^20 rows apart.
        seeds = tf.stack([tf.fill((n,), step), tf.range(n) + first_row + seed * 2**20 % 2**31], axis=1)
        return uniforms(seeds, self._static_event_shape, self.density.dtype)

    def log_prob_of_rows(self, x, condition=None, noise=None):
        noise = self.noise(x) if noise is None else noise
        return self.density.log_prob_of_rows(tf.cast(x, self.density.dtype) + noise, condition)

    def to_base(self, x, condition=None):
        """z and log |det dz/dx| of the density, at x + u."""
        return self.density.to_base(tf.cast(x, self.density.dtype) + self.noise(x), condition)

    def from_base(self, z, condition=None):
        """z [n, *event_shape] -> the integers x."""
        x = tf.floor(self.density.from_base(z, condition))
        return tf.cast(tf.clip_by_value(x, 0, self.levels - 1), self.dtype)

    def draw_noise(self, seeds):
        return self.density.draw_noise(seeds)

    def from_noise(self, noise, condition=None):
        x = tf.floor(self.density.from_noise(noise, condition))
        return tf.cast(tf.clip_by_value(x, 0, self.levels - 1), self.dtype)

    def adapt(self, x, condition=None):
        self.density.adapt(tf.cast(x, self.density.dtype) + self.noise(x), condition)
