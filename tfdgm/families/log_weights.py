import math

from keras import ops


def log_weights(logits):
    """log softmax(logits) [..., K]: -infinity stands for probability 0, and what is +infinity shares all of it."""
    infinite = ops.equal(logits, math.inf)
    shared = ops.where(infinite, ops.zeros_like(logits), -math.inf)
    return ops.log_softmax(ops.where(ops.any(infinite, axis=-1, keepdims=True), shared, logits), axis=-1)
