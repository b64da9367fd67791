import keras
import tensorflow as tf

from tfdgm._keras_compat import parts_of


class KerasWeights:
    """Of a `tf.Module` that holds Keras layers, which `tf.Module` does not look into: their weights are its variables, too. Each
    once, in the order of attribute names."""

    @property
    def variables(self):
        """All `tf.Variable`s, as a tuple."""
        return tuple(variable for variable, _ in _variables(self))

    @property
    def trainable_variables(self):
        """Those that gradients are taken with respect to: `tape.gradient(loss, distribution.trainable_variables)`."""
        return tuple(variable for variable, trainable in _variables(self) if trainable)

    @property
    def non_trainable_variables(self):
        """The others, such as means and scales that `adapt` sets."""
        return tuple(variable for variable, trainable in _variables(self) if not trainable)


def _variables(module):
    """Each tf.Variable, and whether it is trained."""
    found = {}
    for part in parts_of(module, lambda part: isinstance(part, (keras.layers.Layer, keras.Variable, tf.Variable))):
        for weight in part.weights if isinstance(part, keras.layers.Layer) else [part]:
            variable = weight.value if isinstance(weight, keras.Variable) else weight
            found[id(variable)] = variable, weight.trainable
    return found.values()
