import tensorflow as tf


def within_range(x: tf.Tensor) -> tf.Tensor:
    """x, cut off at +-max^0.8 of its dtype (7e30 in float32), so that what further layers make of a sample stays finite.

    Its square is infinite still: a score from there is -infinity.
    """
    limit = x.dtype.max**0.8
    return tf.clip_by_value(x, -limit, limit)
