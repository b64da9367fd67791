"""Measurements of an invertible map, given as functions of rows: `to_z(x) -> (z, log |det dz/dx|)`, `to_x(z) -> (x, log_det)`.

They work on rows [n, D] and never hand a tensor that came out of one function to another function, so that TFP's cache, which
returns a remembered input for a tensor it knows, cannot answer in place of the mathematics.
"""

import numpy as np
import tensorflow as tf

from tfdgm.tasks.check import Check


def round_trip(name, there, back, rows, tolerance, scale=None):
    """How far back(there(rows)) is from rows: the largest |difference| / (|row| + scale); scale [D], by default 1."""
    rows = np.asarray(rows)
    middle, _ = there(tf.constant(rows))
    again, _ = back(tf.constant(np.asarray(middle)))
    scale = np.ones(rows.shape[1:]) if scale is None else scale
    error = np.abs(np.asarray(again, np.float64) - rows) / (np.abs(rows.astype(np.float64)) + scale)
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(rows)} rows")


def log_det_against_autodiff(name, function, rows, tolerance):
    """How far the log-determinant that `function` returns is from slogdet of its autodiff Jacobian, relative to max(1, |.|)."""
    rows = np.asarray(rows)
    _, log_det = function(tf.constant(rows))
    with np.errstate(invalid="ignore"):  # A Jacobian that is not finite: the check fails.
        sign, expected = np.linalg.slogdet(np.asarray(jacobian(function, rows), np.float64))
    error = np.abs(np.asarray(log_det, np.float64) - expected) / np.maximum(1, np.abs(expected))
    error[sign == 0] = np.inf
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(rows)} rows")


def log_dets_opposite(name, there, back, rows, tolerance):
    """How far the two directions' log-determinants are from adding up to 0, relative to max(1, |.|)."""
    middle, forth = there(tf.constant(np.asarray(rows)))
    _, back_again = back(tf.constant(np.asarray(middle)))
    forth, back_again = np.asarray(forth, np.float64), np.asarray(back_again, np.float64)
    error = np.abs(forth + back_again) / np.maximum(1, np.abs(forth))
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(rows)} rows")


def jacobian(function, rows):
    """d function(x)[0] / dx for each row x: [n, D] -> [n, D out, D in].

    Each row is repeated D times, once for each output; so one backward pass gives all (outputs depend on their own row alone).
    """
    n, size = rows.shape
    x = tf.constant(np.repeat(rows, size, axis=0))
    pick = tf.constant(np.tile(np.eye(size, dtype=rows.dtype), (n, 1)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, _ = function(x)
    gradient = tape.gradient(y, x, output_gradients=pick, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return gradient.numpy().reshape(n, size, size)


def worst(error):
    """The largest value; NaN where any is NaN, so that the check fails."""
    return float(np.max(error)) if np.size(error) else float("nan")
