import keras
from keras import ops

from tfdgm.layers.exporting import is_exporting


def update_slice(x, start, update):
    """x with `update` written at `start` (a list of one integer an axis), in place inside a loop; differentiable in x and update.

    `keras.ops.slice_update` becomes XlaDynamicUpdateSlice under TensorFlow, which has no gradient and is no core op;
    TensorStridedSliceUpdate is a core op, but XLA refuses it with a moving index.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.slice_update(x, start, update)
    import tensorflow as tf

    start = tf.stack([tf.cast(s, tf.int32) for s in start])
    core = is_exporting()

    def write(into, value):
        if core:
            size = tf.shape(value)
            return tf.raw_ops.TensorStridedSliceUpdate(
                input=into, begin=start, end=start + size, strides=tf.ones_like(start), value=value
            )
        return ops.slice_update(into, start, value)

    @tf.custom_gradient
    def run(x, update):
        def gradient(upstream):
            size = update.shape if update.shape.is_fully_defined() else tf.shape(update)
            return write(upstream, tf.zeros_like(update)), tf.slice(upstream, start, size)

        return write(x, update), gradient

    return run(x, update)
