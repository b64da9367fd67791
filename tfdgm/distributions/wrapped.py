import tensorflow as tf

from tfdgm.distributions.distribution import Distribution


class Wrapped(Distribution):
    """Any `tfd.Distribution` with scalar batch shape, stock TFP ones included, as one of ours.

    Its noise is its sample, drawn row by row from each row's own seed.

    Args:
      distribution: the distribution; it must have batch shape [] and a static event shape.
    """

    def __init__(self, distribution, *, name="wrapped"):
        if distribution.batch_shape.rank != 0:
            raise ValueError(
                "`distribution` must have batch_shape=() (use tfd.Independent to make batch axes event axes). "
                f"Received: batch_shape={tuple(distribution.batch_shape)}"
            )
        if not distribution.event_shape.is_fully_defined():
            raise ValueError(f"`distribution` must have a static event shape. Received: {distribution.event_shape}")
        super().__init__(distribution.event_shape.as_list(), dtype=distribution.dtype, name=name)
        self.distribution = distribution

    def log_prob_of_rows(self, x, condition=None, noise=None):
        return self.distribution.log_prob(x)

    def draw_noise(self, seeds):
        # Random operations of one seed a row run in a loop, of which no warning need tell.
        return tf.vectorized_map(lambda seed: self.distribution.sample(seed=seed), seeds, warn=False)

    def from_noise(self, noise, condition=None):
        return noise
