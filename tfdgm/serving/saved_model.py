import json
import os
import pathlib
import shutil
import warnings

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm._keras_compat import layers_of
from tfdgm.layers import premask
from tfdgm.serving.artifact import (
    DESCRIPTION,
    PRECISIONS,
    ArtifactError,
    building,
    digests,
    read_description,
    read_weights,
)
from tfdgm.serving.signatures import signatures
from tfdgm.serving.warmup import write_warm_up_requests


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

    It is written aside and renamed, so an existing version stays whole until the new one is.

    Args:
      model: a `DensityModel`.
      path: the version folder, `.../<name>/<version>`.
      overwrite: whether to replace a SavedModel that is there.
      precision: what the kernels (the layers' weight matrices) are stored as: "float32", or "bfloat16" or "float16" at half the
        size. They are cast to float32 when used, so all arithmetic and all outputs stay float32; what is lost is the kernels'
        rounding. Biases, standardisation and other vectors stay float32.
      sampler: the distribution that the `sample` signature draws from, such as `distributions.tempered.tempered(...)`; the
        model's own by default.
      max_batch: the largest batch the server is to get. Given, warm-up requests of 1 and of so many rows lie in the SavedModel
        (where the package tensorflow-serving-api is installed).
    """
    path = pathlib.Path(path)
    stored = _stored_kernels(model, precision)
    if path.exists() and not overwrite:
        raise ArtifactError(f"`path` exists already: {path}. Choose another version number, or overwrite=True.")
    if path.exists() and not ((path / "saved_model.pb").exists() or not any(path.iterdir())):
        raise ArtifactError(f"`path` must be a new folder, or one that holds a SavedModel. Received: {path}, with other files.")
    aside, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        module = tf.Module()
        module.weights = {f"{i:04d}": stored.get(i, weight.value) for i, weight in enumerate(model.weights)}
        functions = signatures(model, sampler, [(model.weights[i], kept) for i, kept in stored.items()])
        tf.saved_model.save(module, str(aside), signatures=functions)
        (aside / DESCRIPTION).parent.mkdir(exist_ok=True)
        options = {"precision": precision, "sampler": sampler and sampler.name, "max_batch": max_batch, "sha256": digests(aside)}
        (aside / DESCRIPTION).write_text(json.dumps({**_description(model), **options}, indent=1))
        if max_batch:
            write_warm_up_requests(aside, path.resolve().parent.name, functions, sorted({1, max_batch}))
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(path, old)
        os.rename(aside, path)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        _put_back(path)
        raise ArtifactError(f"Could not write {path}: {error}. What was there before is unchanged.") from None
    shutil.rmtree(old, ignore_errors=True)


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
    if old.exists() and not path.exists():
        os.rename(old, path)


def _description(model):
    try:
        name, config = keras.saving.get_registered_name(type(model)), model.get_config()
    except NotImplementedError:
        name, config = None, None
    weights = [{"shape": list(w.shape), "dtype": w.dtype} for w in model.weights]
    return {"tfdgm": tfdgm.__version__, "class": name, "config": config, "weights": weights}


def find_saved_model(path: str | os.PathLike) -> pathlib.Path:
    """The version folder that `path` means: itself, or its highest numbered version, as TF Serving chooses."""
    path = pathlib.Path(path)
    for old in [path.with_name(f".{path.name}.old"), *path.glob(".*.old")]:
        _put_back(old.with_name(old.name[1:-4]))
    if (path / "saved_model.pb").exists():
        return path
    versions = [p for p in path.glob("*") if p.name.isascii() and p.name.isdigit() and p.is_dir()]
    if versions:
        return max(versions, key=lambda p: int(p.name))
    what = "is a file" if path.exists() else "does not exist"
    what = "holds no saved_model.pb and no numbered version folder" if path.is_dir() else what
    raise ArtifactError(f"Expected the folder of a SavedModel. Received: {path}, which {what}.")


def load(path: str | os.PathLike) -> keras.Model:
    """The Keras model that wrote the SavedModel at `path` (a version folder, or the folder of versions); fit can go on.

    Of kernels stored as float16 or bfloat16 the rounded values come back, with a warning: the model is the one that is served.
    """
    path = find_saved_model(path)
    description = read_description(path)
    if description["class"] is None or description["config"] is None:
        raise ArtifactError(
            f"{path} was exported by DensityModel.from_distribution, whose distribution is not in the artifact. Build the "
            "distribution again, then `DensityModel.from_distribution(distribution).restore(path)`."
        )
    cls = keras.saving.get_registered_object(description["class"])
    if not (isinstance(cls, type) and issubclass(cls, keras.Model)):
        raise ArtifactError(f"{path} holds a {description['class']}, which is not known here: import the module that defines it.")
    values = read_weights(path, description)
    with building(path, description):
        model = cls.from_config(description["config"])
        distribution = model.distribution  # Of a Keras model of others, an AttributeError.
    _restore(model, distribution, path, description, values)
    return model


def restore(model: keras.Model, path: str | os.PathLike) -> None:
    """Sets the weights of `model` from the SavedModel at `path`, bit for bit."""
    path = find_saved_model(path)
    description = read_description(path)
    _restore(model, model.distribution, path, description, read_weights(path, description))


def _restore(model, distribution, path, description, values):
    weights, written = model.weights, [(w["shape"], w["dtype"]) for w in description["weights"]]
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
    for weight, value in zip(weights, values, strict=True):
        weight.assign(tf.cast(value, weight.dtype))
    if description["precision"] != "float32":
        warnings.warn(
            f"{path} stores its kernels as {description['precision']}: the weights are rounded, and the scores those that it "
            "serves, not those of the model before its export.",
            stacklevel=3,
        )
