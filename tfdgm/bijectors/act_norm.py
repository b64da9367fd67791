import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfdgm.bijectors.bijector import Bijector
from tfdgm.layers import moments, scale_or_one


class ActNorm(Bijector):
    """x = exp(s) z + b, per dimension: Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.1.

    log |det dx/dz| = sum_i s_i. `adapt` sets b and s from data so that z has mean 0 and variance 1. It is called once, by
    `DensityModel.fit` before the first step or by you; nothing initialises itself inside a call. b and s are ordinary
    weights, so a saved and loaded model keeps them. `adapt_inverted` sets them from z, so that x has mean 0 and variance 1.

    Args:
      event_size: D.
      trainable: whether training moves b and s; False makes it a fixed standardisation.
    """

    def __init__(
        self, event_size: int, *, trainable: bool = True, dtype: str | keras.DTypePolicy | None = None, name: str = "act_norm"
    ):
        self.shift_and_log_scale = _ShiftAndLogScale(event_size, trainable=trainable, dtype=dtype, name=name)
        super().__init__(event_shape=(event_size,), dtype=tf.as_dtype(self.shift_and_log_scale.variable_dtype), name=name)

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        b, s = self.shift_and_log_scale.values()
        return z * tf.exp(s) + b, tf.fill(tf.shape(z)[:-1], tf.reduce_sum(s))

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        b, s = self.shift_and_log_scale.values()
        return (x - b) * tf.exp(-s), tf.fill(tf.shape(x)[:-1], -tf.reduce_sum(s))

    def adapt(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        mean, scale = self._mean_and_scale(x)
        self._assign(mean, np.log(scale))

    def adapt_inverted(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        mean, scale = self._mean_and_scale(z)
        self._assign(-mean / scale, -np.log(scale))

    def _mean_and_scale(self, x):
        """Mean and standard deviation [D] over all other axes; what is constant in the weights' dtype has the scale 1."""
        mean, deviation = moments(tf.reshape(x, (-1, x.shape[-1])))
        return mean, scale_or_one(mean, deviation, self.shift_and_log_scale.variable_dtype)

    def _assign(self, b, s):
        self.shift_and_log_scale.b.assign(b)
        self.shift_and_log_scale.s.assign(s)


class _ShiftAndLogScale(keras.layers.Layer):
    """Holds b and s, so that models find them as they find every layer."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.b = self.add_weight(shape=(size,), initializer="zeros", name="shift")
        self.s = self.add_weight(shape=(size,), initializer="zeros", name="log_scale")
        self.built = True

    def values(self):
        return ops.convert_to_tensor(self.b), ops.convert_to_tensor(self.s)
