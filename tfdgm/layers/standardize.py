from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfdgm.layers.moments import moments, scale_or_one


class Standardize(keras.layers.Layer):
    """y = (x - m) / s: each entry of a vector by its own mean and standard deviation, which no training step moves.

    m = 0 and s = 1 until `adapt` sets them; an entry that is constant keeps the scale 1. `keras.layers.Normalization` derives
    tensors from its weights when it adapts, which keep their values where a weight is assigned another one, as when a model is
    loaded.

    Shapes: x [n, *shape] -> y [n, *shape].

    Args:
      shape: of one x.
    """

    def __init__(self, shape: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)
        self.mean = self.add_weight(shape=self.shape, initializer="zeros", trainable=False, name="mean")
        self.scale = self.add_weight(shape=self.shape, initializer="ones", trainable=False, name="scale")
        self.built = True

    def adapt(self, x):
        """Sets m and s from rows x [n, *shape]."""
        mean, deviation = moments(x)
        self.mean.assign(mean)
        self.scale.assign(scale_or_one(mean, deviation, self.variable_dtype))

    def reset(self):
        """Sets m = 0 and s = 1: y = x."""
        self.mean.assign(np.zeros(self.shape))
        self.scale.assign(np.ones(self.shape))

    def call(self, x):
        x, mean, scale = (ops.cast(value, self.compute_dtype) for value in (x, self.mean, self.scale))
        return (x - mean) / scale

    def get_config(self):
        return {**super().get_config(), "shape": self.shape}
