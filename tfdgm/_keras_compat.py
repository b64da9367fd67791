"""What Keras and TensorFlow keep private and we need; no other file uses such members.

Without them, layers inside layers and inside distributions are not found, and what an operation does is not known. Delete a
function when its library has a public one (there is none in Keras 3.15 and TensorFlow 2.21).
"""


def layers_of(layer):
    """A Keras layer, or model, and every layer inside it."""
    return layer._flatten_layers()


def parts_of(module, predicate):
    """All that a `tf.Module`, or a module inside it, has as attribute and `predicate` holds of, in the order of attribute names,
    so that equal structures give equal lists."""
    return module._flatten(predicate=predicate)


def op_definition(name):
    """The OpDef by which TensorFlow knows an operation: its inputs, attributes, whether it has a state. None for one it does not.

    Imported here: layers do without TensorFlow.
    """
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name)


class IsBuilt:
    """Of a Keras model that has all its weights: `fit` does not pull a batch to build it. Without this, Keras 3.15 fails under
    several workers, where it cannot add up batches that are dicts."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        pass
