import tensorflow as tf


def known_entries(x, known=None):
    """Of rows x of which entries may be missing: (x, with 0 where it is unknown; bool of x's shape, what is known).

    Known is what is not NaN, and not 0 in `known`, if it is given.
    """
    known = tf.ones(tf.shape(x), tf.bool) if known is None else tf.not_equal(known, tf.zeros_like(known))
    known = known & ~tf.math.is_nan(x) if x.dtype.is_floating else known
    return tf.where(known, x, tf.zeros_like(x)), known
