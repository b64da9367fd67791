"""What a server tells of a model, and what it answers: checked in full, whichever protocol brought it."""

import collections
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from tfdgm.serving.serving_error import ServingError

#: dtype and shape (the batch first) of each input and output of one signature.
Signature = collections.namedtuple("Signature", ["inputs", "outputs"])
Spec = collections.namedtuple("Spec", ["dtype", "shape"])

#: Inputs and outputs that a signature must have; other inputs are `condition` and `known`.
_NEEDED = {
    "log_prob": ({"x"}, {"log_prob"}),
    "sample": ({"seed"}, {"x"}),
    "encode": ({"x"}, {"z", "log_det"}),
    "decode": ({"z"}, {"x"}),
    "complete": ({"x", "known", "seed"}, {"x"}),
    "describe": ({"row"}, {"json"}),
}


def signature_of(name: str, proto: SignatureDef) -> Signature:
    """The signature `name` of a model. What the server tells of other signatures is not looked at.

    Raises:
      ServingError: for inputs and outputs that none of our signatures has.
    """
    try:
        sides = [{key: _spec(key, info) for key, info in side.items()} for side in (proto.inputs, proto.outputs)]
        for what, needed, side in zip(("inputs", "outputs"), _NEEDED[name], sides, strict=True):
            if not needed <= set(side):
                raise ValueError(f"{what} {', '.join(sorted(needed))}. Received: {', '.join(sorted(side)) or 'none'}")
    except (ValueError, TypeError) as error:
        raise ServingError("DATA_LOSS", f"malformed metadata: the signature `{name}` must have {error}") from None
    return Signature(*sides)


def _spec(key, info):
    shape, dtype = tuple(dim.size for dim in info.tensor_shape.dim), np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
    if not shape or min(shape[1:], default=0) < 0 or dtype.kind not in ("O" if key == "json" else "fiu"):
        raise ValueError(f"`{key}` of numbers, of shape [n, ...]. Received: {dtype.name}, shape {shape}")
    return Spec(dtype, shape)


def names_of(text: bytes) -> tuple[tuple | None, tuple | None]:
    """The names of the columns of x and of the condition, from what the signature `describe` answers.

    Raises:
      ServingError: for what is no such text.
    """
    try:
        found = json.loads(text)
        names = [found[key] for key in ("column_names", "condition_names")]
        for given in names:
            if given is not None and not (isinstance(given, list) and all(isinstance(name, (str, int)) for name in given)):
                raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ServingError("DATA_LOSS", f"expected JSON with the names of columns. Received: {text[:200]!r}") from None
    return tuple(given and tuple(given) for given in names)


def largest_reply(specs: Mapping[str, Spec], n: int) -> int:
    """Bytes that n rows may take in either protocol, white space included, and more than metadata take."""
    return 2**24 + 128 * n * sum(math.prod(spec.shape[1:]) for spec in specs.values())


def arrays_of(
    outputs: Any, specs: Mapping[str, Spec], n: int, to_array: Callable[[Any, np.dtype, tuple], np.ndarray]
) -> dict[str, np.ndarray]:
    """The arrays {name: [n, ...]} of an answer to n rows, `outputs` as a protocol brought them.

    Raises:
      ServingError: for other names, dtypes or shapes than those of the signature, and for what is not finite: only a `log_prob`
        may be -infinity.
    """
    if not isinstance(outputs, Mapping) or set(outputs) != set(specs):
        came = ", ".join(sorted(map(str, outputs))) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ServingError("DATA_LOSS", f"expected the outputs {', '.join(sorted(specs))}. Received: {came or 'none'}")
    arrays = {}
    for name, (dtype, shape) in specs.items():
        try:
            arrays[name] = to_array(outputs[name], dtype, (n, *shape[1:]))
            if dtype.kind == "f":
                bad = ~np.isfinite(arrays[name]) & ((arrays[name] != -np.inf) | (name != "log_prob"))
                if bad.any():
                    raise ValueError(f"{arrays[name][bad][0]}")
        except (ValueError, TypeError, OverflowError) as error:
            wanted = f"`{name}`, {dtype.name} of shape {(n, *shape[1:])}, all finite"
            raise ServingError("DATA_LOSS", f"expected {wanted}. Received: {error}") from None
    return arrays


def from_proto(tensor: TensorProto, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of gRPC; a ValueError or TypeError where it is another one. Memory is taken for what came, not for what is said:
    of values that are missing, `make_ndarray` makes zeros, or repeats the last."""
    received, sizes = tf.as_dtype(tensor.dtype), tuple(dim.size for dim in tensor.tensor_shape.dim)
    if np.dtype(received.as_numpy_dtype) != dtype or sizes != shape:
        raise ValueError(f"{received.name} of shape {sizes}")
    count = sum(len(getattr(tensor, field.name)) for field in tensor.DESCRIPTOR.fields if field.name.endswith("_val"))
    if not tensor.tensor_content and count != math.prod(shape):
        raise ValueError(f"{count} values")
    return tf.make_ndarray(tensor)


def from_json(rows: ArrayLike, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Nested lists of REST; a ValueError where they are no such array. Text becomes bytes, as in gRPC."""
    array = np.asarray(rows)
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "O": "U"}[dtype.kind]
    if array.shape != shape or (array.size and array.dtype.kind not in kinds):
        raise ValueError(f"{array.dtype.name} of shape {array.shape}")
    if dtype.kind == "O":
        return np.array([text.encode() for text in rows], object)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    changed = cast != array if dtype.kind in "iu" else np.isfinite(array) & ~np.isfinite(cast)
    if changed.any():
        raise ValueError(f"{array[changed][0]}")
    return cast
