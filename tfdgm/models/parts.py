"""The layers and variables that a distribution holds."""

import keras
import tensorflow as tf

from tfdgm._keras_compat import parts_of


def layers_and_variables(module: tf.Module) -> list[keras.layers.Layer | keras.Variable]:
    """Every Keras layer, and every tf.Variable outside them as a keras.Variable, held as attribute anywhere in a tf.Module.

    tf.Module's own search, in the order of attribute names, so that equal structures give equal lists.
    """
    parts = []
    for part in parts_of(module, lambda o: isinstance(o, (keras.layers.Layer, keras.Variable, tf.Variable))):
        if isinstance(part, tf.Variable):
            name = part.name.split(":")[0].replace("/", ".")  # Keras's names hold no slash, those of TensorFlow's layers do.
            part = keras.Variable(part, trainable=part.trainable, dtype=part.dtype.name, name=name)
        if not any(part is p for p in parts):
            parts.append(part)
    return parts


def build_layers(distribution: tf.Module) -> None:
    """Lets layers without weights yet (TFP's AutoregressiveNetwork before its first call) make them, so that they are found."""
    layers = parts_of(distribution, lambda part: isinstance(part, tf.Module) and getattr(part, "built", True) is False)
    if layers and None not in distribution.event_shape.as_list():
        distribution.log_prob(tf.zeros((1, *distribution.event_shape), distribution.dtype))
    for layer in layers:
        if not layer.built:
            raise ValueError(f"{type(layer).__name__} has no weights yet: build it, or call the distribution's log_prob, first.")
