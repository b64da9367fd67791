import contextlib
from collections.abc import Iterator

import keras

from tfdgm._keras_compat import layers_of
from tfdgm.networks import AutoregressiveNetwork


@contextlib.contextmanager
def computing_in(model: keras.layers.Layer, policy: str | None) -> Iterator[None]:
    """While this is open, the layers of `model`'s networks compute under `policy` ("mixed_bfloat16", say); None changes nothing.

    Networks themselves keep their own: they see inputs, and give parameters of a density, in full precision.
    """
    own = keras.dtype_policies.get(model.dtype_policy)
    layers = [] if policy is None else list(_inner_layers(model))
    for layer in layers:
        layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = own


def _inner_layers(model):
    """The innermost layers, and the blocks that image networks are made of."""
    for layer in layers_of(model):
        if len(layers_of(layer)) == 1:
            yield layer
        elif isinstance(layer, AutoregressiveNetwork):
            yield from (x for x in layers_of(layer) if len(layers_of(x)) > 1 and not isinstance(x, AutoregressiveNetwork))
