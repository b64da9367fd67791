import math

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random


class Distribution(tfd.Distribution):
    """A `tfd.Distribution` over events of one shape, evaluated on rows; works wherever TFP takes a distribution.

    `log_prob(x, condition=None)`: x [*batch, *event_shape] -> [*batch], nats. `sample(n, seed, condition=None)`.

    A subclass writes three hooks on one batch axis. Noise is drawn apart from its use: drawn outside XLA and used inside, it
    is the same noise everywhere, stock TFP samplers included.

    Args:
      event_shape: shape of one event.
      dtype: of samples.
      condition_shape: shape of one condition c in p(x|c), or None.
      levels: None for a density; L for integers 0..L-1.
    """

    #: Whether log_prob is a lower bound.
    is_bound = False

    def __init__(self, event_shape, *, dtype, condition_shape=None, levels=None, name=None):
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.levels = levels
        self._static_event_shape = tuple(event_shape)
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED if levels else tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            name=name or type(self).__name__,
        )

    def draw_noise(self, seeds):
        """seeds int32 [n, 2] -> the noise of n samples; row i depends on seeds[i] alone."""
        raise NotImplementedError

    def from_noise(self, noise, condition=None):
        """The noise of n samples -> x [n, *event_shape]; deterministic."""
        raise NotImplementedError

    def log_prob_of_rows(self, x, condition=None, noise=None):
        """x [n, *event_shape] -> log p(x) [n], nats. `noise` is the dequantization noise of a bound;
        without it, a fixed function of x."""
        raise NotImplementedError

    def adapt(self, x, condition=None):
        """Sets what depends on data from rows x [n, *event_shape]; nothing by default."""

    def _log_prob(self, x, condition=None):
        event_ndims = len(self._static_event_shape)
        x = tf.convert_to_tensor(x)
        batch = tf.shape(x)[: tf.rank(x) - event_ndims]
        rows = tf.reshape(x, (-1, *self._static_event_shape))
        log_prob = self.log_prob_of_rows(rows, self._condition_rows(condition, batch))
        return tf.reshape(log_prob, batch)

    def _sample_n(self, n, seed=None, condition=None):
        n = tf.convert_to_tensor(n, tf.int32)
        seeds = tfp_random.split_seed(tfp_random.sanitize_seed(seed), n=n)
        condition = self._condition_rows(condition, tf.reshape(n, (1,)))
        return self.from_noise(self.draw_noise(tf.reshape(seeds, (-1, 2))), condition)

    def _condition_rows(self, condition, batch):
        if self.condition_shape is None:
            return None
        if condition is None:
            raise ValueError(f"{self.name} needs a `condition` of shape [..., *{self.condition_shape}]. Received: None")
        condition = tf.broadcast_to(condition, tf.concat([batch, self.condition_shape], axis=0))
        return tf.reshape(condition, (-1, *self.condition_shape))

    @property
    def event_size(self):
        """Number of dimensions of one event."""
        return math.prod(self._static_event_shape)

    def _event_shape(self):
        return tf.TensorShape(self._static_event_shape)

    def _event_shape_tensor(self):
        return tf.constant(self._static_event_shape, tf.int32)

    def _batch_shape(self):
        return tf.TensorShape([])

    def _batch_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _default_event_space_bijector(self):
        return None if self.levels else tfb.Identity()
