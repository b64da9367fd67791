"""Measurements of a density or mass function, given as a function of rows: `log_prob(x [n, *event]) -> [n]`."""

import math

import numpy as np

from tfdgm.tasks.bijector_checks import worst
from tfdgm.tasks.check import Check

_CHUNK = 1 << 15


def finite(name, scores):
    """How many rows have a log-probability that is not finite."""
    bad = ~np.isfinite(np.asarray(scores))
    detail = f"rows of {len(bad)}" + (f"; the first is row {int(np.argmax(bad))}" if bad.any() else "")
    return Check(name, int(bad.sum()), 0, detail)


def in_chunks(log_prob, rows):
    """log_prob of many rows, float64 [n]."""
    return np.concatenate([np.asarray(log_prob(rows[i : i + _CHUNK]), np.float64) for i in range(0, len(rows), _CHUNK)])


def rows_independent(name, log_prob, rows, extreme, tolerance):
    """How far the scores of single rows, of the rows in reverse, and of the rows beside an `extreme` one [1, *event] are from
    those of the rows together, relative to the largest of them."""
    together = np.asarray(log_prob(rows), np.float64)
    alone = np.concatenate([np.asarray(log_prob(rows[i : i + 1]), np.float64) for i in range(min(4, len(rows)))])
    reverse = np.asarray(log_prob(rows[::-1]), np.float64)[::-1]
    beside = np.asarray(log_prob(np.concatenate([rows, extreme])), np.float64)[:-1]
    scores, expected = np.concatenate([alone, reverse, beside]), np.concatenate([together[: len(alone)], together, together])
    with np.errstate(invalid="ignore"):
        error = np.where(scores == expected, 0, np.abs(scores - expected))  # Equal infinities are equal.
    detail = "alone, together, in another order, beside an extreme row"
    return Check(name, worst(error / np.maximum(1, np.abs(together[np.isfinite(together)]).max(initial=1))), tolerance, detail)


def same_scores(name, scores, expected, tolerance, detail):
    """How far scores are from those expected, relative to max(1, |.|); equal infinities are equal."""
    scores, expected = np.asarray(scores, np.float64), np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore"):
        error = np.where(scores == expected, 0, np.abs(scores - expected) / np.maximum(1, np.abs(expected)))
    return Check(name, worst(error), tolerance, f"{detail}: largest relative difference over {len(scores)} rows")


def total_mass(name, log_prob, samples, tolerance, *, points=None, at_most=False):
    """How far the integral of a density over the real line or plane is from 1; `at_most`, above 1.

    Trapezoidal rule over `points` a dimension on x = median + s sinh(t), |sinh(t)| <= 100, s the samples' standard deviation: by
    Chebyshev's inequality at most 1e-4 of the mass lies beyond. A second value from every other point tells whether the grid
    resolves the density; where it does not, the check is skipped.
    """
    size = samples.shape[1]
    points = points or {1: 2**14 + 1, 2: 401}[size]
    edge = math.asinh(100)
    t = np.linspace(-edge, edge, points)
    scale = np.where(samples.std(axis=0) > 0, samples.std(axis=0), 1)
    axes = [np.median(samples[:, d]) + scale[d] * np.sinh(t) for d in range(size)]
    log_widths = [np.log(scale[d] * np.cosh(t)) for d in range(size)]
    step = 2 * edge / (points - 1)
    cells = np.prod(step * np.hypot(scale, samples - np.median(samples, axis=0)), axis=1)
    return _integral(name, log_prob, axes, log_widths, step, 1.0, tolerance, samples, cells, at_most)


def box_mass(name, log_prob, samples, low, high, tolerance, *, points=None):
    """How far the integral of a density over the box [low, high]^D is from the fraction of its samples there.

    The tolerance grows by four standard errors of that fraction.
    """
    n, size = samples.shape
    points = points or {1: 2**14 + 1, 2: 401}[size]
    inside = float(((samples >= low) & (samples <= high)).all(axis=1).mean())
    tolerance += 4 * math.sqrt(max(inside * (1 - inside), 1 / n) / n)
    axes = [np.linspace(low, high, points)] * size
    step = (high - low) / (points - 1)
    flat = [np.zeros(points)] * size
    return _integral(name, log_prob, axes, flat, step, inside, tolerance, samples, step**size)


def _integral(name, log_prob, axes, log_widths, step, expected, tolerance, samples, cells, at_most=False):
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)).astype(samples.dtype)
    values = in_chunks(log_prob, mesh)
    log_width = sum(np.meshgrid(*log_widths, indexing="ij"))
    density = np.exp(values.reshape(log_width.shape) + log_width)
    mass, coarse = _trapezoid(density, step), _trapezoid(density[(slice(None, None, 2),) * density.ndim], 2 * step)
    detail = f"{mass:.5f} against {expected:.5g}, over {' x '.join(str(len(a)) for a in axes)} points"
    # Peaks between the points show at samples: a cell of the grid there would hold more than the tolerance.
    held = float(np.max(np.exp(np.asarray(log_prob(samples), np.float64)) * cells))
    too_little = mass < expected - tolerance and not at_most
    if abs(mass - coarse) > tolerance or (too_little and held > tolerance):
        return Check.skip(name, f"the density is too sharp for the grid: {mass:.4f}, and {coarse:.4f} with half the points")
    return Check(name, max(0.0, mass - expected) if at_most else abs(mass - expected), tolerance, detail)


def _trapezoid(values, step):
    for _ in range(values.ndim):
        values = (values.sum(axis=0) - 0.5 * (values[0] + values[-1])) * step
    return float(values)


def total_probability(name, log_probs, tolerance):
    """How far the sum of P(x) over all events, of log_probs [E], is from 1."""
    total = float(np.exp(np.asarray(log_probs, np.float64)).sum())
    return Check(name, abs(total - 1), tolerance, f"{total:.6f} over all {len(log_probs)} events")
