"""Measurements of a model against its own SavedModel, and of samples against seeds."""

import pathlib

import numpy as np
import tensorflow as tf

from tfdgm import serving
from tfdgm.tasks.bijector_checks import worst
from tfdgm.tasks.check import Check


def same_sample(name, first, second, tolerance, what):
    """The fraction of rows in which two samples differ by more than `tolerance`, relative to each dimension's scale.

    Where a uniform number falls on the edge between two values, rounding may choose either, and all that comes later in that
    row differs; so one row in eight may.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    scale = np.abs(first) + first.std(axis=0, keepdims=True) + np.finfo(np.float32).tiny
    error = (np.abs(first - second) / scale).reshape(len(first), -1).max(axis=1)
    return Check(name, worst(np.mean(~(error <= tolerance))), 0.125, f"fraction of {len(first)} rows that differ: {what}")


def saved_model(model, rows, condition, folder, tolerance):
    """Checks of a SavedModel written to `folder`: log_prob, sample and complete through TensorFlow alone, then the model loaded
    back."""
    path = pathlib.Path(folder) / "1"
    model.export(path)
    loaded = tf.saved_model.load(str(path))
    given = {} if condition is None else {"condition": tf.constant(condition, model.compute_dtype)}
    x = tf.constant(rows, model.distribution.dtype)
    expected = np.asarray(model.log_prob(rows, condition=condition))
    served = np.asarray(loaded.signatures["log_prob"](x=x, **given)["log_prob"], np.float64)
    error = np.abs(served - expected) / np.maximum(1, np.abs(expected.astype(np.float64)))
    yield Check("SavedModel: log_prob", worst(error), tolerance, f"largest relative difference over {len(rows)} rows")

    n = min(8, len(rows))
    seeds = tf.constant([[1, i] for i in range(n)], tf.int32)
    given = {name: value[:n] for name, value in given.items()}
    served = loaded.signatures["sample"](seed=seeds, **given)["x"]
    expected_sample = model.sample(n, seed=1, condition=None if condition is None else condition[:n])
    yield same_sample("SavedModel: sample", expected_sample, served, 100 * tolerance, "signature, model.sample")

    name = "SavedModel: complete"
    if "complete" in loaded.signatures:
        order = model.distribution.network.order
        known = np.zeros((n, len(order)), int)
        known[:, order[: len(order) // 2]] = 1
        known = known.reshape((n, *model.event_shape))
        served = loaded.signatures["complete"](x=x[:n], known=tf.cast(known, x.dtype), seed=seeds, **given)["x"]
        completed = model.complete(rows[:n], known, seed=1, condition=None if condition is None else condition[:n])
        yield same_sample(name, completed, served, 100 * tolerance, "signature, model.complete")
    else:
        yield Check.skip(name, "no autoregressive model of x itself")

    name = "load: log_prob"
    try:
        again = serving.load(path)
    except serving.ArtifactError as error:
        yield Check.skip(name, str(error).split(". ")[0].replace(str(path), "it"))
        return
    again.use_xla = model.use_xla
    different = np.asarray(again.log_prob(rows, condition=condition)) != expected
    yield Check(name, int(different.sum()), 0, f"rows of {len(rows)} that are not equal bit for bit")
