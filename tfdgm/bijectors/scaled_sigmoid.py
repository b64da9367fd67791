import math

import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector


class ScaledSigmoid(Bijector):
    """x = upper (sigmoid(z) - alpha) / (1 - 2 alpha): carries data in [0, upper] to the real line.

    Its inverse z = logit(alpha + (1 - 2 alpha) x / upper) is the preprocessing of Dinh et al. 2017, arXiv:1605.08803, 4.1.
    log |dx/dz| = log(upper / (1 - 2 alpha)) - softplus(z) - softplus(-z), summed over dimensions.

    Args:
      upper: upper end of the data's range.
      alpha: margin that keeps the logit finite at 0 and at `upper`; x may leave the range by this fraction.
    """

    def __init__(self, upper: float, *, alpha: float = 0.05, dtype: str | tf.DType | None = None, name: str = "scaled_sigmoid"):
        super().__init__(dtype=dtype, name=name)
        self.upper, self.alpha = float(upper), alpha

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        x = self.upper * (tf.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
        return x, self._log_det(z)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        y = self.alpha + (1 - 2 * self.alpha) * x / self.upper
        # Outside the range, which forward never reaches, the density is zero; z and gradients stay finite.
        inside = (y > 0) & (y < 1)
        y = tf.where(inside, y, tf.cast(0.5, y.dtype))
        z = tf.math.log(y) - tf.math.log1p(-y)
        return z, tf.where(tf.reduce_all(inside, axis=-1), -self._log_det(z), tf.cast(-math.inf, z.dtype))

    def _log_det(self, z):
        scale = math.log(self.upper / (1 - 2 * self.alpha))
        return tf.reduce_sum(scale - tf.math.softplus(z) - tf.math.softplus(-z), axis=-1)
