"""Checks of a model's samples against their seeds."""

import numpy as np
import tensorflow as tf

from tfdgm.tasks.check import Check, worst
from tfdgm.tasks.subject import XLA_ROWS, cast, tolerances_of


def checks(subject):
    """The same seed, compiled and not, few samples and many; of the model as it is."""
    model, n = subject.model, XLA_ROWS // 2 + 8
    given = subject.conditions(XLA_ROWS)
    given = None if given is None else given.numpy()
    seeds = tf.constant([[subject.seed, i] for i in range(n)], tf.int32)
    distribution, tolerance = model.distribution, 100 * tolerances_of(model).score
    few = None if given is None else given[:n]
    eager = subject.method(distribution, "from_noise")(distribution.draw_noise(seeds), cast(few, model))
    compiled = model.sample(n, seed=subject.seed, condition=few)
    yield same_sample("same seed, same sample", eager, compiled, tolerance, "distribution, model.sample")
    longer = model.sample(XLA_ROWS, seed=subject.seed, condition=given)
    yield same_sample("more samples begin alike", compiled, longer[:n], tolerance, f"{n}, {XLA_ROWS} samples")


def same_sample(name, first, second, tolerance, what):
    """The fraction of rows in which two samples differ by more than `tolerance`, relative to each dimension's scale.

    Where a uniform number falls on the edge between two values, rounding may choose either, and all that comes later in that
    row differs; so one row in eight may.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    scale = np.abs(first) + first.std(axis=0, keepdims=True) + np.finfo(np.float32).tiny
    error = (np.abs(first - second) / scale).reshape(len(first), -1).max(axis=1)
    return Check(name, worst(np.mean(~(error <= tolerance))), 0.125, f"fraction of {len(first)} rows that differ: {what}")
