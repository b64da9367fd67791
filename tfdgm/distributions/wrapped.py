import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdgm.distributions.distribution import Distribution
from tfdgm.event import Event
from tfdgm.traced import traced


class Wrapped(Distribution):
    """Any `tfd.Distribution` with scalar batch shape, stock TFP ones included, as one of ours.

    Its noise is its sample, drawn row by row from each row's own seed: all rows at once where TensorFlow vectorizes the sampler
    rightly, which is tried here, else in a loop. (TensorFlow 2.21 drops the constant of a `tf.pad` that it vectorizes.)

    Args:
      distribution: the distribution; it must have batch shape [] and a static event shape.

    Raises:
      ValueError: for another batch shape, an event shape that is not static, and events of several parts.
    """

    def __init__(self, distribution, *, name="wrapped"):
        wanted = "`distribution` must have events of one tensor, batch_shape=() and a static event shape"
        if isinstance(distribution, tfd.JointDistribution) or not isinstance(distribution.dtype, tf.DType):
            raise ValueError(f"{wanted}. Received: {type(distribution).__name__}, whose events have several parts")
        if distribution.batch_shape.rank != 0:
            raise ValueError(
                f"{wanted} (use tfd.Independent to make batch axes event axes). "
                f"Received: batch_shape={_shape(distribution.batch_shape)}"
            )
        if not distribution.event_shape.is_fully_defined():
            raise ValueError(f"{wanted}. Received: event_shape={_shape(distribution.event_shape)}")
        super().__init__(
            Event(distribution.event_shape.as_list()),
            dtype=distribution.dtype,
            is_reparameterized=distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED,
            name=name,
        )
        self.distribution = distribution
        self._is_vectorized = self._vectorizes()

    @property
    def bijector(self):
        return self.distribution.bijector if isinstance(self.distribution, tfd.TransformedDistribution) else None

    def _default_event_space_bijector(self):
        return self.distribution.experimental_default_event_space_bijector()

    def _moment(self, name, **kwargs):
        return getattr(self.distribution, name)(**kwargs)

    def _vectorizes(self):
        """Whether rows that are drawn at once are those that are drawn one by one."""
        with tf.init_scope():
            seeds = tf.constant([[7, i] for i in range(4)], tf.int32)
            try:
                one_by_one = np.stack([self.distribution.sample(seed=seed).numpy() for seed in seeds])
                at_once = traced(self._at_once)(seeds).numpy()
            except (ValueError, TypeError, NotImplementedError, tf.errors.OpError):
                return False  # A sampler that fails either way says so where it is used.
        return np.allclose(at_once, one_by_one, rtol=1e-4, atol=1e-6, equal_nan=True)

    def _at_once(self, seeds):
        # Random operations of one seed a row run in a loop, of which no warning need tell.
        return tf.vectorized_map(lambda seed: self.distribution.sample(seed=seed), seeds, warn=False)

    def draw_noise(self, seeds):
        if self._is_vectorized:
            return self._at_once(seeds)
        spec = tf.TensorSpec(self.event.shape, self.dtype)
        return tf.map_fn(lambda seed: self.distribution.sample(seed=seed), seeds, fn_output_signature=spec)

    def _log_prob_of_rows(self, x, condition, noise, known):
        return self.distribution.log_prob(x)

    def _from_noise(self, noise, condition):
        return noise


def _shape(shape):
    return "unknown" if shape.rank is None else tuple(shape)
