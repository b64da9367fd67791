import math

import tensorflow as tf

from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.noise import normals
from tfdgm.event import Event


class StandardNormal(Distribution):
    """log p(x) = -sum_i x_i^2 / 2 - D log(2 pi) / 2: the usual base of a flow.

    Args:
      event_shape: shape of x.
    """

    is_standard_normal = True
    noise_law = "normal"

    def __init__(self, event_shape, *, dtype=tf.float32, name="standard_normal"):
        super().__init__(Event(event_shape), dtype=dtype, name=name)

    def _log_prob_of_rows(self, x, condition, noise, known):
        x = tf.reshape(x, (-1, self.event_size))
        return -0.5 * tf.reduce_sum(tf.square(x), axis=-1) - 0.5 * self.event_size * math.log(2 * math.pi)

    def draw_noise(self, seeds):
        return normals(seeds, self.event.shape, self.dtype)

    def _from_noise(self, noise, condition):
        return noise
