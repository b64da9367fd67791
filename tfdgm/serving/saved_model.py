import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm._keras_compat import layers_of
from tfdgm.layers import premask
from tfdgm.serving.signatures import signatures
from tfdgm.serving.warmup import write_warm_up_requests
from tfdgm.written_aside import aside_of, locked

#: What `export` can store kernels as.
PRECISIONS = ("float32", "bfloat16", "float16")
DESCRIPTION = pathlib.Path("assets.extra") / "tfdgm.json"
#: What may lie in a SavedModel.
_CONTENTS = ("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra")


class ArtifactError(ValueError):
    """A SavedModel that cannot be read or written."""


def export(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    overwrite: bool = True,
    precision: str = "float32",
    sampler: tfd.Distribution | None = None,
    max_batch: int | None = None,
) -> None:
    """Writes `model` as a SavedModel to `path`, with the signatures of `signatures`; core TensorFlow ops, nothing jit-compiled.

    It is written aside and renamed, so an existing version stays whole until the new one is. One process at a time writes a
    version.

    Args:
      model: a `DensityModel`.
      path: the version folder, `.../<name>/<version>`.
      overwrite: whether to replace a SavedModel of tfdgm that is there, or that has come by the end. Nothing else is replaced.
      precision: what the kernels (the layers' weight matrices) are stored as: "float32", or "bfloat16" or "float16" at half the
        size. They are cast to float32 when used, so all arithmetic and all outputs stay float32; what is lost is the kernels'
        rounding. Biases, standardisation and other vectors stay float32.
      sampler: the distribution that the `sample` signature draws from, such as `distributions.tempered.tempered(...)`; the
        model's own by default.
      max_batch: the largest batch the server is to get. Given, warm-up requests of 1 and of so many rows lie in the SavedModel
        (where the package tensorflow-serving-api is installed).
    """
    path = pathlib.Path(os.path.abspath(path))
    stored = _stored_kernels(model, precision)
    try:
        with locked(path), aside_of(path) as aside:
            _put_back(path)
            _check_replaceable(path, overwrite)
            _write(model, aside, path.resolve().parent.name, stored, precision, sampler, max_batch)
            _check_replaceable(path, overwrite)
            _replace(path, aside)
    except (OSError, tf.errors.OpError) as error:
        raise ArtifactError(f"Could not write {path}: {error}. What was there before is unchanged.") from None


def _check_replaceable(path, overwrite):
    if not path.exists():
        return
    if not overwrite:
        raise ArtifactError(f"`path` exists already: {path}. Choose another version number, or overwrite=True.")
    if path.is_dir() and not any(path.iterdir()):
        return
    others = sorted(file.name for file in path.iterdir() if file.name not in _CONTENTS) if path.is_dir() else [path.name]
    if others or not (path / DESCRIPTION).exists():
        what = f"with other files: {', '.join(others[:5])}" if others else "which tfdgm has not written"
        raise ArtifactError(f"`path` must be a new folder, or one that holds a SavedModel of tfdgm. Received: {path}, {what}.")


def _write(model, aside, name, stored, precision, sampler, max_batch):
    module = tf.Module()
    module.weights = {f"{i:04d}": stored.get(i, weight.value) for i, weight in enumerate(model.weights)}
    functions = signatures(model, sampler, [(model.weights[i], kept) for i, kept in stored.items()])
    tf.saved_model.save(module, str(aside), signatures=functions)
    (aside / DESCRIPTION).parent.mkdir(exist_ok=True)
    options = {"precision": precision, "sampler": sampler and sampler.name, "max_batch": max_batch}
    (aside / DESCRIPTION).write_text(json.dumps({**_description(model), **options}, indent=1))
    if max_batch:
        write_warm_up_requests(aside, name, functions, sorted({1, max_batch}))


def _replace(path, aside):
    old = path.with_name(f".{path.name}.old")
    try:
        if path.exists():
            _remove_old(old)
            os.rename(path, old)
        os.rename(aside, path)
    finally:
        _put_back(path)
    _remove_old(old)


def _stored_kernels(model, precision):
    """{number of the weight: the tf.Variable to store in its place}, of the weight matrices that layers hold."""
    if precision not in PRECISIONS:
        raise ArtifactError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision}")
    if precision == "float32":
        return {}
    premask(model)
    held = {id(weight) for layer in layers_of(model)[1:] for weight in layer.weights}
    stored = {}
    for i, weight in enumerate(model.weights):
        if id(weight) in held and weight.dtype == "float32" and len(weight.shape) > 1:
            kernel = tf.cast(weight.value, precision)
            if not np.isfinite(np.asarray(kernel, np.float32)).all():
                raise ArtifactError(f"The kernel {weight.path} holds values beyond {precision}: export as bfloat16 or float32.")
            stored[i] = tf.Variable(kernel, trainable=False)
    if not stored:
        raise ArtifactError(f"This model has no float32 kernels to store as {precision}: export as float32.")
    return stored


def _put_back(path):
    """After a kill between the two renames of `export` the old version lies beside; puts it back."""
    old = path.with_name(f".{path.name}.old")
    if _is_old(old) and not path.exists():
        os.rename(old, path)


def _remove_old(old):
    if _is_old(old):
        shutil.rmtree(old, ignore_errors=True)


def _is_old(path):
    return (path / DESCRIPTION).is_file() and not path.is_symlink()


def _description(model):
    try:
        name, config = keras.saving.get_registered_name(type(model)), model.get_config()
    except NotImplementedError:
        name, config = None, None
    weights = [{"shape": list(w.shape), "dtype": w.dtype} for w in model.weights]
    return {"tfdgm": tfdgm.__version__, "class": name, "config": config, "weights": weights}


def find_saved_model(path: str | os.PathLike) -> pathlib.Path:
    """The version folder that `path` means: itself, or its highest numbered version, as TF Serving chooses."""
    path = pathlib.Path(os.path.abspath(path))  # "." has no name.
    for old in [path.with_name(f".{path.name}.old"), *path.glob(".*.old")]:
        version = old.with_name(old.name[1:-4])
        if _is_old(old) and not version.exists():
            with contextlib.suppress(OSError), locked(version):  # Not between the two renames of one that writes now.
                _put_back(version)
    if (path / "saved_model.pb").exists():
        return path
    versions = sorted((int(p.name), p) for p in path.glob("*") if p.name.isdecimal()) if path.is_dir() else []
    if versions:
        return versions[-1][1]
    what = "is a file" if path.exists() else "does not exist"
    what = "holds no saved_model.pb and no numbered version folder" if path.is_dir() else what
    raise ArtifactError(f"Expected the folder of a SavedModel. Received: {path}, which {what}.")


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


def load(path: str | os.PathLike) -> keras.Model:
    """The Keras model that wrote the SavedModel at `path` (a version folder, or the folder of versions); fit can go on.

    Of kernels stored as float16 or bfloat16 the rounded values come back, with a warning: the model is the one that is served.
    """
    path = find_saved_model(path)
    description = _read_description(path)
    if description["class"] is None:
        raise ArtifactError(
            f"{path} was exported by DensityModel.from_distribution, whose distribution is not in the artifact. Build the "
            "distribution again, then `DensityModel.from_distribution(distribution).restore(path)`."
        )
    cls = keras.saving.get_registered_object(description["class"])
    if cls is None:
        raise ArtifactError(f"{path} holds a {description['class']}, which is not known here: import the module that defines it.")
    try:
        model = cls.from_config(description["config"])
    except TypeError as error:
        raise ArtifactError(f"{path} was written by another tfdgm ({description['tfdgm']}): {error}") from None
    restore(model, path)
    return model


def restore(model: keras.Model, path: str | os.PathLike) -> None:
    """Sets the weights of `model` from the SavedModel at `path`, bit for bit."""
    path = find_saved_model(path)
    description = _read_description(path)
    _check_graph(path)
    weights, written = model.weights, [(w["shape"], w["dtype"]) for w in description["weights"]]
    distribution = model.distribution
    scalings = [d.condition_scaling for d in (distribution.density, distribution.source) if d.condition_scaling is not None]
    later = {id(weight) for scaling in scalings for weight in scaling.weights}
    before = [weight for weight in weights if id(weight) not in later]
    if len(written) == len(before):
        # Written when conditions were taken as they came.
        weights = before
        for scaling in scalings:
            scaling.reset()
    expected = [(list(w.shape), w.dtype) for w in weights]
    if expected != written:
        raise ArtifactError(
            f"{path} holds other weights than this model: expected {len(expected)}, received {len(written)}; "
            f"first difference: {next(((e, w) for e, w in zip(expected, written, strict=False) if e != w), 'their number')}."
        )
    try:
        with plainly_named(path) as plain:
            checkpoint = tf.train.load_checkpoint(str(plain / "variables" / "variables"))
            values = [checkpoint.get_tensor(f"weights/{i:04d}/.ATTRIBUTES/VARIABLE_VALUE") for i in range(len(expected))]
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise ArtifactError(f"The SavedModel at {path} is damaged: {str(error).splitlines()[0]}") from None
    for weight, value in zip(weights, values, strict=True):
        weight.assign(tf.cast(value, weight.dtype))
    if description["precision"] != "float32":
        warnings.warn(
            f"{path} stores its kernels as {description['precision']}: the weights are rounded, and the scores those that it "
            "serves, not those of the model before its export.",
            stacklevel=2,
        )


def _check_graph(path):
    """An ArtifactError where saved_model.pb, which is what a server reads, cannot be read, though we need only the rest."""
    try:
        whole = bool(saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs)
    except (OSError, message.DecodeError):
        whole = False
    if not whole:
        raise ArtifactError(f"The SavedModel at {path} is damaged: saved_model.pb cannot be read.")


def _read_description(path):
    try:
        description = json.loads((path / DESCRIPTION).read_text())
        read = {key: description[key] for key in ("tfdgm", "class", "config", "weights")}
        return {**read, "precision": description.get("precision", "float32")}
    except FileNotFoundError:
        raise ArtifactError(f"{path} was not written by tfdgm: it has no {DESCRIPTION}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"The SavedModel at {path} is damaged: {DESCRIPTION} cannot be read ({error}).") from None
