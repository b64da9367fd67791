"""Slices at a moving index. In an exported graph, which XLA does not compile, each is as few operations as there can be."""

import contextlib
import functools

import keras
from keras import ops

from tfdgm.layers.exporting import is_exporting


def take_row(x, i):
    """x[i], of the first axis."""
    if _is_exported():
        import tensorflow as tf

        return tf.gather(x, i)
    return x[i]


def take_rows(x, indices):
    """x[indices], of the first axis, for an array of indices. `keras.ops.take` asks TensorFlow which of them are negative."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(x, indices, axis=0)
    import tensorflow as tf

    return tf.gather(x, indices)


def take_slice(x, start, shape):
    """x from `start` on (a list of one integer an axis), `shape` of it; a None in `shape` takes the whole axis."""
    if _is_exported():
        import tensorflow as tf

        return tf.slice(x, tf.stack(start), [-1 if size is None else size for size in shape])
    return ops.slice(x, start, [ops.shape(x)[axis] if size is None else size for axis, size in enumerate(shape)])


def update_slice(x, start, update):
    """x with `update` written at `start` (a list of one integer an axis), in place inside a loop; differentiable in x and update,
    as often as one likes. An axis that starts at 0 and is of unknown length is written whole.

    `keras.ops.slice_update` becomes XlaDynamicUpdateSlice under TensorFlow, which has no gradient (2.21) and is no core op;
    TensorStridedSliceUpdate is a core op, but XLA refuses it with a moving index.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.slice_update(x, start, update)
    import tensorflow as tf

    if is_exporting():
        axes = list(zip(start, x.shape, update.shape, strict=True))
        is_whole = [isinstance(at, int) and at == 0 and size in (length, None) for at, length, size in axes]
        mask = sum(1 << axis for axis, whole in enumerate(is_whole) if whole)
        sizes = [0 if whole else size for whole, (*_, size) in zip(is_whole, axes, strict=True)]
        start = tf.stack(start)
        return tf.raw_ops.TensorStridedSliceUpdate(
            input=x, begin=start, end=start + sizes, strides=[1] * len(sizes), value=update, begin_mask=mask, end_mask=mask
        )
    _differentiate_slice_updates()
    return ops.slice_update(x, tf.stack([tf.cast(s, tf.int32) for s in start]), update)


@functools.cache
def _differentiate_slice_updates():
    """Gives TensorFlow the gradient of XlaDynamicUpdateSlice, once. A gradient that the op has itself is found inside loops of
    loops and their gradients, where that of a `tf.custom_gradient` reaches for tensors of a loop that is gone."""
    import tensorflow as tf

    def gradient(op, upstream):
        _, update, start = op.inputs
        size = update.shape if update.shape.is_fully_defined() else tf.shape(update)
        return ops.slice_update(upstream, start, tf.zeros_like(update)), tf.slice(upstream, start, size), None

    with contextlib.suppress(KeyError):  # Another library may have given it one.
        tf.RegisterGradient("XlaDynamicUpdateSlice")(gradient)


def _is_exported():
    return is_exporting() and keras.backend.backend() == "tensorflow"
