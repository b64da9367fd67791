import keras
import tensorflow as tf

import tfdgm


class AsVector(tfdgm.bijectors.Bijector):
    """A bijector over images as one over vectors of 4."""

    def __init__(self, bijector, shape, latent_shape):
        super().__init__(event_shape=(4,), dtype=bijector.dtype, name="as_vector")
        self.bijector, self.shapes = bijector, (shape, latent_shape)

    def forward_and_log_det(self, z, condition=None):
        return self._apply(self.bijector.forward_and_log_det, z, self.shapes[1])

    def inverse_and_log_det(self, x, condition=None):
        return self._apply(self.bijector.inverse_and_log_det, x, self.shapes[0])

    def _apply(self, function, value, shape):
        moved, log_det = function(tf.reshape(value, tf.concat([tf.shape(value)[:-1], shape], axis=0)))
        return tf.reshape(moved, tf.shape(value)), log_det


class PerPixel(keras.layers.Layer):
    """[n, *event] -> [n, *event, 2], by one dense layer over all of the event."""

    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2 * size, activation="tanh", dtype=self.dtype_policy)
        self.dense.build((None, size))
        self.built = True

    def call(self, x):
        return keras.ops.reshape(self.dense(keras.ops.reshape(x, (-1, self.dense.kernel.shape[0]))), (-1, *x.shape[1:], 2))
