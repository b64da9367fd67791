"""Checks of a model against its own SavedModel, through TensorFlow alone and loaded back."""

import json
import math
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tfdgm import serving
from tfdgm.serving.saved_model import DESCRIPTION, plainly_named
from tfdgm.tasks.autoregressive_checks import draws_of_call
from tfdgm.tasks.check import Check
from tfdgm.tasks.sample_checks import same_sample
from tfdgm.tasks.score_checks import same_scores
from tfdgm.tasks.subject import tolerances_of

_ROWS = 40  # of a sample, which compiles as the report's 64 do.


def checks(subject, artifact):
    """Of a SavedModel of the model, exported here (True) or lying in the folder `artifact`; none where it is False."""
    if artifact is False:
        return
    model, x, condition = subject.model, subject.x, subject.condition
    with tempfile.TemporaryDirectory() as folder:
        if artifact is True:
            path = pathlib.Path(folder) / "1"
            model.export(path)
        else:
            path = serving.find_saved_model(artifact)
        yield from saved_model(model, x, condition, path, tolerances_of(model).score)
        yield loaded_back(subject.scores_by, model, path)


def saved_model(model, rows, condition, path, tolerance):
    """Checks of the SavedModel at `path` against `model`: log_prob, sample and complete, through TensorFlow alone."""
    name = "SavedModel: log_prob"
    try:
        with plainly_named(path) as plain:
            loaded = tf.saved_model.load(str(plain))
    except (tf.errors.OpError, OSError, ValueError, IndexError, RuntimeError) as error:
        yield Check(name, math.inf, tolerance, f"it cannot be read: {str(error).splitlines()[0][:80]}")
        return
    given = {} if condition is None else {"condition": tf.constant(condition, model.compute_dtype)}
    x = tf.constant(rows, model.distribution.dtype)
    expected = np.asarray(model.log_prob(rows, condition=condition))
    try:
        served = loaded.signatures["log_prob"](x=x, **given)["log_prob"]
        yield same_scores(name, served, expected, tolerance, "signature, model")
    except (tf.errors.OpError, ValueError, TypeError, KeyError) as error:  # Another model's graph takes other inputs.
        yield Check(name, math.inf, tolerance, f"it fails: {str(error).splitlines()[0][:80]}")
        return

    name, n = "SavedModel: sample", _ROWS
    seeds = tf.constant([[1, i] for i in range(n)], tf.int32)
    conditions = {} if condition is None else {"condition": np.resize(condition, (n, *condition.shape[1:]))}
    sampler = json.loads((path / DESCRIPTION).read_text()).get("sampler")
    if sampler:
        yield Check.skip(name, f"exported to draw from {sampler}")
    else:
        served = loaded.signatures["sample"](seed=seeds, **{k: tf.constant(v) for k, v in conditions.items()})["x"]
        yield same_sample(name, model.sample(n, seed=1, **conditions), served, 100 * tolerance, "signature, model.sample")

    name = "SavedModel: complete"
    if model.distribution.is_autoregressive and "complete" in loaded.signatures:
        rows, seeds = rows[:n], seeds[: len(rows)]
        condition = None if condition is None else condition[:n]
        yield _completion(name, model, rows, condition, seeds, loaded.signatures["complete"], 100 * tolerance)
    else:
        yield Check.skip(name, "no autoregressive model of x itself")


def _completion(name, model, rows, condition, seeds, signature, tolerance):
    """Rows of which the signature completes the second half, in the network's order, against the known half and, beyond it, what
    the family draws by the same noise from the parameters that `call` gives at the completed rows."""
    distribution = model.distribution
    order, x = distribution.network.order, tf.constant(rows, distribution.dtype)
    known = np.zeros((len(rows), len(order)), bool)
    known[:, order[: len(order) // 2]] = True
    known = known.reshape(x.shape)
    given = {} if condition is None else {"condition": tf.constant(condition, model.compute_dtype)}
    completed = signature(x=x, known=tf.cast(known, x.dtype), seed=seeds, **given)["x"]
    drawn = draws_of_call(distribution, completed, given.get("condition"), distribution.draw_noise(seeds))
    return same_sample(name, np.where(known, x, drawn), completed, tolerance, "signature, draws of call")


def loaded_back(score, model, path):
    """How many rows the model that `serving.load` makes of the SavedModel at `path` scores otherwise than `model`.

    score: model -> the scores of the rows by its distribution.
    """
    name = "load: log_prob"
    try:
        again = serving.load(path)
    except serving.ArtifactError as error:
        return Check.skip(name, str(error).split(". ")[0].replace(str(path), "it"))
    different = np.asarray(score(again)) != np.asarray(score(model))
    return Check(name, int(different.sum()), 0, f"rows of {len(different)} that are not equal bit for bit")
