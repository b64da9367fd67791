import keras
import tensorflow as tf
from keras import ops

from tfdgm.bijectors.bijector import Bijector


class ActNorm(Bijector):
    """x = exp(s) z + b, per dimension: Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.1.

    log |det dx/dz| = sum_i s_i. `adapt` sets b and s from data so that z has mean 0 and variance 1. It is called once, by
    `DensityModel.fit` before the first step or by you; nothing initialises itself inside a call. b and s are ordinary
    weights, so a saved and loaded model keeps them.

    Args:
      event_size: D.
      trainable: whether training moves b and s; False makes it a fixed standardisation.
    """

    def __init__(self, event_size, *, trainable=True, dtype=None, name="act_norm"):
        self.shift_and_log_scale = _ShiftAndLogScale(event_size, trainable=trainable, dtype=dtype, name=name)
        super().__init__(dtype=tf.as_dtype(self.shift_and_log_scale.variable_dtype), name=name)

    def forward_and_log_det(self, z, condition=None):
        b, s = self.shift_and_log_scale.values()
        return z * tf.exp(s) + b, tf.fill(tf.shape(z)[:-1], tf.reduce_sum(s))

    def inverse_and_log_det(self, x, condition=None):
        b, s = self.shift_and_log_scale.values()
        return (x - b) * tf.exp(-s), tf.fill(tf.shape(x)[:-1], -tf.reduce_sum(s))

    def adapt(self, x, condition=None):
        x = tf.reshape(tf.cast(x, tf.float64), (-1, x.shape[-1]))
        self.adapt_to_moments(tf.reduce_mean(x, axis=0), tf.math.reduce_std(x, axis=0))

    def adapt_to_moments(self, mean, std):
        """Sets b and s from the mean and standard deviation [D] of x; one that is constant in float32 keeps the scale 1."""
        self.shift_and_log_scale.b.assign(mean)
        self.shift_and_log_scale.s.assign(ops.log(ops.where(std > 1e-7 * ops.abs(mean) + 1e-30, std, ops.ones_like(std))))


class _ShiftAndLogScale(keras.layers.Layer):
    """Holds b and s, so that models find them as they find every layer."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.b = self.add_weight(shape=(size,), initializer="zeros", name="shift")
        self.s = self.add_weight(shape=(size,), initializer="zeros", name="log_scale")
        self.built = True

    def values(self):
        return ops.convert_to_tensor(self.b), ops.convert_to_tensor(self.s)
