import numpy as np
import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector


class Permute(Bijector):
    """x_i = z_(p(i)); log-det 0.

    Args:
      permutation: p, a permutation of 0..D-1; `Permute(range(D)[::-1])` reverses.
    """

    def __init__(self, permutation, *, dtype=None, name="permute"):
        self.permutation = np.asarray(permutation)
        super().__init__(event_shape=self.permutation.shape, dtype=dtype, name=name)
        if sorted(self.permutation.tolist()) != list(range(len(self.permutation))):
            raise ValueError(f"`permutation` must hold each of 0..D-1 once. Received: {permutation}")

    def forward_and_log_det(self, z, condition=None):
        self._check_takes(condition)
        return tf.gather(z, self.permutation, axis=-1), tf.zeros(tf.shape(z)[:-1], z.dtype)

    def inverse_and_log_det(self, x, condition=None):
        self._check_takes(condition)
        return tf.gather(x, np.argsort(self.permutation), axis=-1), tf.zeros(tf.shape(x)[:-1], x.dtype)
