import numpy as np
from keras import ops


def reorder(u, order, axis):
    """y_i = u_order(i) along an axis, `order` a permutation. XLA gathers slowly: a reversal is a flip."""
    steps = np.diff(order)
    if (steps == 1).all():
        return u
    return ops.flip(u, axis=axis) if (steps == -1).all() else ops.take(u, order, axis=axis)
