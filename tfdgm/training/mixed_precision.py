import contextlib

import keras


@contextlib.contextmanager
def computing_in(model, policy):
    """While this is open, the innermost layers of `model` compute under `policy` ("mixed_bfloat16", say); None changes nothing.

    Networks made of several layers keep their own: they see inputs, and give parameters of a density, in full precision.
    """
    own = keras.dtype_policies.get(model.dtype_policy)
    layers = [] if policy is None else [layer for layer in model._flatten_layers() if len(layer._flatten_layers()) == 1]
    for layer in layers:
        layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = own
