import numpy as np
import tensorflow as tf

from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.flow import flow_functions
from tfdgm.distributions.noise import seeds_of_places, uniforms
from tfdgm.event import Event

#: Stream of the noise that `adapt` adds; training steps have streams from 0 on.
_ADAPT = -1


class Dequantized(Distribution):
    """Integers x in 0..L-1 under a density p over the reals: P(x) = integral of p over [x, x + 1)^D = E_u p(x + u), u uniform in
    [0, 1)^D, for p within [0, L)^D. A sample is floor(x) of the density's sample, kept within 0..L-1.

    `log_prob` is log p(x + u) for one u a row: an estimate. Its mean over u is a lower bound on log P(x), by Jensen's inequality
    (Theis et al. 2016, arXiv:1511.01844, eq. 6); one draw may lie above. u is a fixed pseudo-random function of the row: scores
    repeat, do not depend on the batch, and equal rows share one u. `log_prob(x, num_samples=K)` is the log of the mean of K
    densities, whose mean is a bound as well, and tends to log P(x).

    Of a vector, some columns may be real: u is 0 there, and p(x) that of the mixed measure, whose sum over the integers and
    integral over the real columns is 1.

    Args:
      density: a `Distribution` over the reals, whose x is the integer plus u (range [0, L]).
      levels: L; or one for each column of a vector, None where it is real.

    Raises:
      ValueError: where the density's dtype cannot tell x + u from x at the highest level.
    """

    kind = "estimate"

    def __init__(self, density, levels, *, name="dequantized"):
        event = Event(density.event.shape, levels)
        #: Which entries are integers, bool: of all entries alike, or of each column.
        self.are_integers = np.array([level is not None for level in levels] if isinstance(event.levels, tuple) else True)
        self._top = np.array(event.levels if self.are_integers.ndim == 0 else [level or 1 for level in levels]) - 1
        if (self._top.max() + 1) * np.finfo(density.dtype.as_numpy_dtype).eps > 1 / 8:
            raise ValueError(
                f"{density.dtype.name} has no room for noise of less than one level: take dtype='float64', or at most "
                f"{int(1 / 8 / np.finfo(density.dtype.as_numpy_dtype).eps)} levels. Received: levels={levels}"
            )
        super().__init__(event, dtype=density.dtype, condition_shape=density.condition_shape, name=name)
        self._density = density

    @property
    def density(self):
        return self._density

    @property
    def source(self):
        return self._density.source

    def scoring_noise(self, seeds):
        """u of n rows, [n, *event_shape]."""
        u = uniforms(seeds, self.event.shape, self.density.dtype)
        return u if self.are_integers.all() else tf.where(self.are_integers, u, tf.zeros_like(u))

    def _log_prob_of_rows(self, x, condition, noise, known):
        return self.density.log_prob_of_rows(tf.cast(x, self.density.dtype) + noise, condition)

    def to_base(self, x, condition=None):
        """z and log |det dz/dx| of the density, at x + u."""
        return self.density.to_base(tf.cast(x, self.density.dtype) + self.scoring_noise(self.seeds_of(x)), condition)

    @property
    def latent_shape(self):
        """Shape of z."""
        return self.density.latent_shape

    def from_base(self, z, condition=None):
        """z [n, *latent_shape] -> the integers x."""
        return self._floor(self.density.from_base(z, condition))

    def functions(self):
        return flow_functions(self, self.density.dtype) if "encode" in self.density.functions() else {}

    def draw_noise(self, seeds):
        return self.density.draw_noise(seeds)

    def _from_noise(self, noise, condition):
        return self._floor(self.density.from_noise(noise, condition))

    def _floor(self, x):
        # Clipped first: a float beyond the integers has no cast.
        integers = tf.floor(tf.clip_by_value(x, tf.zeros((), x.dtype), tf.cast(self._top, x.dtype)))
        return tf.cast(integers if self.are_integers.all() else tf.where(self.are_integers, integers, x), self.dtype)

    def _adapt(self, x, condition):
        # Other noise than scores are measured with, which would be fitted to.
        u = self.scoring_noise(seeds_of_places(0, tf.shape(x)[0], _ADAPT))
        self.density.adapt_to_rows(tf.cast(x, self.density.dtype) + u, condition)
