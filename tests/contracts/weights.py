"""A module's trainable weights, and random values for them."""

import math

import keras
import numpy as np

from tfdgm.models.parts import layers_and_variables


def weights_of(module):
    """The trainable weights of a model, a layer, or what a tf.Module holds."""
    if isinstance(module, keras.layers.Layer):
        return module.trainable_weights
    parts = layers_and_variables(module)
    return [w for part in parts for w in ([part] if isinstance(part, keras.Variable) else part.trainable_weights)]


def randomize(module, seed=0, scale=1.0):
    """Draws all weights anew. Biases start at zero and output kernels near it, which would hide what they do."""
    random = np.random.default_rng(seed)
    for weight in weights_of(module):
        deviation = scale / math.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.3 * scale
        weight.assign(random.normal(size=weight.shape) * deviation)
    return module
