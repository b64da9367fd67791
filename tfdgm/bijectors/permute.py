import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm.bijectors.bijector import Bijector


class Permute(Bijector):
    """x_i = z_(p(i)); log-det 0.

    Args:
      permutation: p, a permutation of 0..D-1; `Permute(range(D)[::-1])` reverses.
    """

    def __init__(self, permutation: ArrayLike, *, dtype: str | tf.DType | None = None, name: str = "permute"):
        self.permutation = np.asarray(permutation)
        super().__init__(event_shape=self.permutation.shape, dtype=dtype, name=name)
        if sorted(self.permutation.tolist()) != list(range(len(self.permutation))):
            raise ValueError(f"`permutation` must hold each of 0..D-1 once. Received: {permutation}")

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        return tf.gather(z, self.permutation, axis=-1), tf.zeros(tf.shape(z)[:-1], z.dtype)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        return tf.gather(x, np.argsort(self.permutation), axis=-1), tf.zeros(tf.shape(x)[:-1], x.dtype)
