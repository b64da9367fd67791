"""Measurements of a density or mass function, given as a function of rows: `log_prob(x [n, *event]) -> [n]`."""

import itertools
import math

import numpy as np

from tfdgm.tasks.bijector_checks import worst
from tfdgm.tasks.check import Check

_CHUNK = 1 << 15


def finite(name, log_prob, rows):
    """How many rows have a log-probability that is not finite."""
    bad = ~np.isfinite(np.asarray(log_prob(rows)))
    detail = f"rows of {len(rows)}" + (f"; the first is row {int(np.argmax(bad))}" if bad.any() else "")
    return Check(name, int(bad.sum()), 0, detail)


def rows_independent(name, log_prob, rows, tolerance):
    """How far the scores of single rows and of the rows in reverse are from those of the rows together."""
    together = np.asarray(log_prob(rows), np.float64)
    alone = np.concatenate([np.asarray(log_prob(rows[i : i + 1]), np.float64) for i in range(min(4, len(rows)))])
    reverse = np.asarray(log_prob(rows[::-1]), np.float64)[::-1]
    error = np.concatenate([np.abs(alone - together[: len(alone)]), np.abs(reverse - together)])
    return Check(name, worst(error / np.maximum(1, np.abs(together).max())), tolerance, "alone, together, in another order")


def total_mass(name, log_prob, samples, tolerance, *, points=None):
    """How far the integral of a density over the real line or plane is from 1.

    Trapezoidal rule over `points` a dimension on x = median + s sinh(t), |sinh(t)| <= 100, s the samples' standard deviation: by
    Chebyshev's inequality at most 1e-4 of the mass lies beyond. A second value from every other point tells whether the grid
    resolves the density; where it does not, the check is skipped.
    """
    size = samples.shape[1]
    points = points or {1: 2**14 + 1, 2: 401}[size]
    edge = math.asinh(100)
    t = np.linspace(-edge, edge, points)
    scale = samples.std(axis=0)
    axes = [np.median(samples[:, d]) + scale[d] * np.sinh(t) for d in range(size)]
    log_widths = [np.log(scale[d] * np.cosh(t)) for d in range(size)]
    step = 2 * edge / (points - 1)
    cells = np.prod(step * np.hypot(scale, samples - np.median(samples, axis=0)), axis=1)
    return _integral(name, log_prob, axes, log_widths, step, 1.0, tolerance, samples, cells)


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


def _integral(name, log_prob, axes, log_widths, step, expected, tolerance, samples, cells):
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)).astype(samples.dtype)
    values = np.concatenate([np.asarray(log_prob(mesh[i : i + _CHUNK]), np.float64) for i in range(0, len(mesh), _CHUNK)])
    log_width = sum(np.meshgrid(*log_widths, indexing="ij"))
    density = np.exp(values.reshape(log_width.shape) + log_width)
    mass, coarse = _trapezoid(density, step), _trapezoid(density[(slice(None, None, 2),) * density.ndim], 2 * step)
    detail = f"{mass:.5f} against {expected:.5g}, over {' x '.join(str(len(a)) for a in axes)} points"
    # Peaks between the points show at samples: a cell of the grid there would hold more than the tolerance.
    held = float(np.max(np.exp(np.asarray(log_prob(samples), np.float64)) * cells))
    if abs(mass - coarse) > tolerance or (mass < expected - tolerance and held > tolerance):
        return Check.skip(name, f"the density is too sharp for the grid: {mass:.4f}, and {coarse:.4f} with half the points")
    return Check(name, abs(mass - expected), tolerance, detail)


def _trapezoid(values, step):
    for _ in range(values.ndim):
        values = (values.sum(axis=0) - 0.5 * (values[0] + values[-1])) * step
    return float(values)


def total_probability(name, log_prob, event_shape, levels, tolerance):
    """How far the sum of P(x) over all events of integers 0..levels-1 is from 1."""
    events = np.array(list(itertools.product(range(levels), repeat=math.prod(event_shape))), np.int32)
    events = events.reshape(-1, *event_shape)
    total = sum(
        float(np.exp(np.asarray(log_prob(events[i : i + _CHUNK]), np.float64)).sum()) for i in range(0, len(events), _CHUNK)
    )
    return Check(name, abs(total - 1), tolerance, f"{total:.6f} over all {len(events)} events")
