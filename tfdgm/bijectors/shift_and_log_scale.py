import keras
import tensorflow as tf


class ShiftAndLogScale(tf.Module):
    """Makes a network fit stock `tfb.RealNVP(shift_and_log_scale_fn=...)`.

    `tfb.RealNVP` passes the number of outputs as a positional integer, which a Keras 3 layer refuses, and wants the tuple (shift,
    log_scale). A tf.Module, so that the layer inside is still found.

    Args:
      network: a Keras layer [n, d] -> [n, 2 * (D - d)], shift first.
    """

    def __init__(self, network: keras.layers.Layer, name: str | None = None):
        super().__init__(name=name)
        self.network = network

    def __call__(self, x, output_units, **condition):
        params = self.network(tf.reshape(x, (-1, x.shape[-1])), **condition)
        params = tf.reshape(params, tf.concat([tf.shape(x)[:-1], [2 * output_units]], axis=0))
        return tuple(tf.split(params, 2, axis=-1))
