import contextlib
import logging
import os

import numpy as np
import tensorflow as tf

from tfdgm import serving
from tfdgm.tasks import (
    artifact_checks,
    autoregressive_checks,
    bijector_checks,
    density_checks,
    network_checks,
    noise_checks,
    sample_checks,
    score_checks,
)
from tfdgm.tasks.report import Report
from tfdgm.tasks.subject import MOST_DIMENSIONS, Subject, rebuilt

#: What log_prob is, by kind.
_WORDS = {
    "exact": "exact log p",
    "lower bound": "a lower bound on log p",
    "estimate": "one draw of an estimate whose mean is a lower bound on log p",
}


@contextlib.contextmanager
def _without_retracing_warnings():
    """Checks trace functions of their own, each for one use, which TensorFlow takes for one function traced again and again."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@_without_retracing_warnings()
def verify(model, x=None, *, condition=None, rows=64, seed=0, artifact=True):
    """Measures whether a model is the density it says it is; returns a `Report`, and `print(report)` shows a table.

        report = tfdgm.verify(model, x)
        print(report)
        assert report.passed

    What applies to the model is measured: its scores, its flow, the total mass, the masks of its networks, its noise, its samples
    against its scores, the SavedModel against the model. docs/verification.md says how, at which level, and what is not seen.
    What does not apply, or would take too long, is reported as skipped, with the reason. Statistical checks show -log10 of a
    p-value and fail above 7: a sound model fails one of them once in ten million times. Weights are changed for a moment and put
    back.

    Args:
      model: a `DensityModel`, or the folder of a SavedModel (a version, or versions): then the model that it holds, and this
        SavedModel itself.
      x: rows [n, *event_shape] to measure on, such as test data; by default the model's own samples.
      condition: [n, *condition_shape], or one for all rows, for models that take one; by default standard normal numbers, which
        the report says.
      rows: number of rows of x that are used.
      seed: of the samples and of what else is drawn.
      artifact: whether to export the model to a temporary folder and measure the SavedModel too; or the folder of a SavedModel
        that should be this model's.

    Raises:
      ArtifactError: for a folder that holds no SavedModel, or a damaged one.
    """
    if isinstance(model, (str, os.PathLike)):
        folder = serving.find_saved_model(model)
        model, artifact = serving.load(folder), folder if artifact is True else artifact
    made_up = "; condition: standard normal numbers" if condition is None and model.condition_shape is not None else ""
    x, condition = _rows(model, x, condition, rows, seed)
    doubled = model.distribution.event_size <= MOST_DIMENSIONS and model.compute_dtype != "float64"
    exact = rebuilt(model, "float64") if doubled else None
    subject = Subject(model, exact or model, x, condition, seed)
    checks = [
        *score_checks.checks(subject),
        *bijector_checks.checks(subject),
        *density_checks.checks(subject),
        *network_checks.checks(subject),
        *noise_checks.checks(subject),
        *autoregressive_checks.checks(subject),
        *sample_checks.checks(subject),
        *artifact_checks.checks(subject, artifact),
    ]
    words = _WORDS[model.distribution.kind]
    title = f"{type(model).__name__} {tuple(model.event_shape)}, {model.compute_dtype}"
    return Report(checks, f"{title}; log_prob is {words}; {len(x)} rows{made_up}")


def _rows(model, x, condition, rows, seed):
    """Up to `rows` rows (x, condition), made up where they are not given."""
    shape = model.condition_shape
    n = rows
    if x is not None:
        x = model.check_x(x).reshape(-1, *model.event_shape)
        n = len(x)
    elif shape is not None and np.ndim(condition) > len(shape):
        n = len(condition)
    if not n:
        raise ValueError("`x` and `condition` must hold at least one row. Received: 0 rows")
    if shape is not None and condition is None:
        condition = np.random.default_rng(seed).normal(size=(n, *shape))
    condition = model.check_condition(condition, (n,))
    condition = None if condition is None else condition[:rows]
    x = model.sample(min(n, rows), seed=seed, condition=condition).numpy() if x is None else x[:rows]
    return x, condition
