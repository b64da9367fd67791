import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector


class ScaledSigmoid(Bijector):
    """x = upper (sigmoid(z) - alpha) / (1 - 2 alpha): carries data in [0, upper] to the real line.

    Its inverse z = logit(alpha + (1 - 2 alpha) x / upper) is the preprocessing of Dinh et al. 2017, arXiv:1605.08803, 4.1.
    log |dx/dz| = log(upper / (1 - 2 alpha)) - softplus(z) - softplus(-z), summed over dimensions.

    Args:
      upper: upper end of the data's range; or one for each dimension of a vector, None where x = z.
      alpha: margin that keeps the logit finite at 0 and at `upper`; x may leave the range by this fraction.
    """

    def __init__(
        self,
        upper: float | Sequence[float | None],
        *,
        alpha: float = 0.05,
        dtype: str | tf.DType | None = None,
        name: str = "scaled_sigmoid",
    ):
        super().__init__(dtype=dtype, name=name)
        each = np.array(upper, np.float64)  # None is NaN.
        self.carries = ~np.isnan(each)
        self.upper, self.alpha = np.where(self.carries, each, 1), alpha

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        x = self.upper.astype(z.dtype.as_numpy_dtype) * (tf.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
        return tf.where(self.carries, x, z), self._log_det(z)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        x = tf.convert_to_tensor(x)
        y = self.alpha + (1 - 2 * self.alpha) * x / self.upper.astype(x.dtype.as_numpy_dtype)
        # Outside the range, which forward never reaches, the density is zero; z and gradients stay finite.
        inside = ((y > 0) & (y < 1)) | ~self.carries
        y = tf.where(inside & self.carries, y, tf.cast(0.5, y.dtype))
        z = tf.where(self.carries, tf.math.log(y) - tf.math.log1p(-y), x)
        return z, tf.where(tf.reduce_all(inside, axis=-1), -self._log_det(z), tf.cast(-math.inf, z.dtype))

    def _log_det(self, z):
        scale = np.log(self.upper / (1 - 2 * self.alpha)).astype(z.dtype.as_numpy_dtype)
        each = scale - tf.math.softplus(z) - tf.math.softplus(-z)
        return tf.reduce_sum(tf.where(self.carries, each, tf.zeros_like(each)), axis=-1)
