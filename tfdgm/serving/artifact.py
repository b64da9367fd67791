"""What lies in the folder of a SavedModel beside its graph, checked before anything is built of it."""

import contextlib
import hashlib
import itertools
import math
import pathlib
import tempfile
import typing
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tfdgm.from_outside import OutsideError, is_plain, parse_json, read_text

DESCRIPTION = pathlib.Path("assets.extra") / "tfdgm.json"
#: What `export` can store kernels as.
PRECISIONS = ("float32", "bfloat16", "float16")


class _Weight(typing.TypedDict):
    shape: list[int]
    dtype: str


_Description = typing.TypedDict(
    "_Description",
    {
        "tfdgm": str,
        "class": str | None,
        "config": dict | None,
        "weights": list[_Weight],
        "precision": typing.NotRequired[typing.Literal[PRECISIONS]],
        "sampler": typing.NotRequired[str | None],
        "max_batch": typing.NotRequired[int | None],
        "sha256": typing.NotRequired[dict],
    },
)
#: Numbers in a config that make no weights. What an event may be is bounded apart from that, for images are larger than networks.
_NO_SIZES, _MOST_DIMENSIONS = ("seed", "levels", "event_shape"), 2**26


class ArtifactError(ValueError):
    """A SavedModel or a .keras file that cannot be read or written."""


def read_description(path: pathlib.Path) -> dict:
    """The content of `path`/assets.extra/tfdgm.json, with the keys of all versions."""
    try:
        description = parse_json(read_text(path / DESCRIPTION), _Description)
    except FileNotFoundError:
        raise ArtifactError(f"{path} was not written by tfdgm: it has no {DESCRIPTION}.") from None
    except (OutsideError, OSError) as error:
        raise ArtifactError(f"The SavedModel at {path} is damaged: {DESCRIPTION} cannot be read ({error}).") from None
    return {"precision": "float32", "sampler": None, **description}


def read_graph(path: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph in `path`/saved_model.pb, which is what a server reads; an ArtifactError where there is none."""
    file = path / "saved_model.pb"
    try:
        graphs = saved_model_pb2.SavedModel.FromString(file.read_bytes() if file.is_file() else b"").meta_graphs
    except (OSError, message.DecodeError):
        graphs = ()
    if len(graphs) != 1:
        raise ArtifactError(f"The SavedModel at {path} is damaged: saved_model.pb cannot be read.")
    return graphs[0]


def digests(path: pathlib.Path) -> dict[str, str]:
    """{file: SHA-256} of what a server reads of the SavedModel in the folder `path`.

    Raises:
      OutsideError: for what is no file.
    """
    result = {}
    for file in (path / "saved_model.pb", *sorted((path / "variables").glob("*"))):
        name = str(file.relative_to(path))
        if not file.is_file():  # To read a pipe takes for ever.
            raise OutsideError(f"{name} is no file")
        with open(file, "rb") as opened:
            result[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return result


@contextlib.contextmanager
def plainly_named(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder of a SavedModel, under another name where TensorFlow, which takes names of variables for globs, needs one."""
    if not set("*?[]\\") & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, "model")
        link.symlink_to(path.absolute(), target_is_directory=True)
        yield link


def read_weights(path: pathlib.Path, description: dict) -> list[np.ndarray]:
    """The values of all weights; an ArtifactError where files are not those that were exported, or weights those described."""
    read_graph(path)
    expected = [weight["shape"] for weight in description["weights"]]
    try:
        there = digests(path)
        exported = description.get("sha256", there)  # Older exports have none.
        if other := sorted(name for name in exported if exported[name] != there.get(name)):
            raise OutsideError(f"{other[0]} is not what was exported")
        names = [f"weights/{i:04d}/.ATTRIBUTES/VARIABLE_VALUE" for i in range(len(expected))]
        with plainly_named(path) as plain:
            reader = tf.train.load_checkpoint(str(plain / "variables" / "variables"))
            stored = list(map(reader.get_variable_to_shape_map().get, names))
            if stored != expected:
                one, other = next(pair for pair in zip(expected, stored, strict=True) if pair[0] != pair[1])
                raise OutsideError(f"{DESCRIPTION} tells of a weight of shape {one}. Stored: {other}")
            values = [reader.get_tensor(name) for name in names]
        if any(np.asarray(value).dtype.kind in "OS" for value in values):
            raise OutsideError("weights must be numbers. Stored: texts")
        return values
    except (OutsideError, OSError, tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise ArtifactError(f"The SavedModel at {path} is damaged: {str(error).splitlines()[0]}") from None


@contextlib.contextmanager
def building(path: pathlib.Path, description: dict) -> Iterator[None]:
    """Inside, a model is built of what a description says; what goes wrong is an ArtifactError. So are, of our classes, Keras
    objects in a config, which may read files, and sizes that no model with these weights has, which take all memory and time."""
    weights, config = description["weights"], description["config"]
    try:
        if not description["class"].startswith("tfdgm>"):
            yield
            return
        count = sum(math.prod(weight["shape"]) for weight in weights)
        for name, value in config.items():
            if not is_plain(value):
                raise OutsideError(f"`{name}` must be a plain value. Received: {str(value)[:80]}")
            if name not in _NO_SIZES and _largest(value) > count:
                raise OutsideError(f"`{name}` is larger than all {count:,} weights together. Received: {str(value)[:80]}")
        if math.prod(config.get("event_shape") or ()) > _MOST_DIMENSIONS:
            raise OutsideError(f"`event_shape` has more than {_MOST_DIMENSIONS:,} dimensions")
        with tf.variable_creator_scope(at_most(2 * len(weights) + 100)):  # Metrics and what is replaced have variables, too.
            yield
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError, MemoryError, tf.errors.OpError) as error:
        raise ArtifactError(f"{path} is damaged, or was written by another tfdgm ({description['tfdgm']}): {error}") from None


def at_most(most: int) -> Callable:
    """A creator of variables, for `tf.variable_creator_scope`, that makes so many, and then raises an OutsideError."""
    made = itertools.count(1)

    def make(next_creator, **kwargs):
        if next(made) > most:
            raise OutsideError("it describes more weights than there are")
        return next_creator(**kwargs)

    return make


def _largest(value):
    """The largest number in a plain value; 0 where it holds none."""
    if isinstance(value, (list, tuple)):
        return max(map(_largest, value), default=0)
    return value if isinstance(value, (int, float)) else 0
