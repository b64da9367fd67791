"""Checks of the total mass of a density or mass function, given as a function of rows, `log_prob(x [n, *event]) -> [n]`, and of
samples against it."""

import functools
import math

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfdgm.tasks import sampler_checks
from tfdgm.tasks.check import Check
from tfdgm.tasks.sampler_checks import in_chunks
from tfdgm.tasks.subject import MOST_OF_A_BRIDGE, repeat_condition, seeds_of

_MOST_EVENTS = 1 << 16  # of a sum over all events


def checks(subject):
    """The total mass, and samples against the density or the mass function: by events, by cells, or by a bridge."""
    names = ["total mass", "samples as often as P(x)", "score below log P(x)", "integral, and samples"]
    found = {}
    if subject.distribution.event.is_discrete:
        found = _event_checks(subject, names)
    if not subject.density.levels:
        found.update(_real_checks(subject, names))
    yield from (found.get(name) or Check.skip(name, "does not apply to this distribution") for name in names)


def _event_checks(subject, names):
    """Of integers: what can be summed over all events."""
    distribution, size, levels = subject.distribution, subject.size, subject.distribution.levels
    is_exact = distribution.kind == "exact"
    log_events = size * np.log(levels)
    if log_events > np.log(_MOST_EVENTS):
        reason = f"{levels}^{size} events; a sum goes to {_MOST_EVENTS}"
        return {name: Check.skip(name, reason) for name in names[: 2 if is_exact else 3]}
    score, found = subject.score_under_first(distribution), {}
    events = sampler_checks.events_of(subject.model.event_shape, levels)
    if is_exact:
        log_probs = in_chunks(score, events)
        found[names[0]] = total_probability(names[0], log_probs, subject.tolerances.total)
    if len(events) > sampler_checks.MOST_EVENTS:
        reason = f"{levels}^{size} events; {sampler_checks.MOST_EVENTS} are compared"
        return {**found, names[1]: Check.skip(names[1], reason)}
    counts = sampler_checks.counts_of(subject.draws(distribution, 1 << 14, subject.seed), levels)
    if is_exact:
        found[names[1]] = sampler_checks.frequencies(names[1], log_probs, counts)
    elif not subject.is_dequantized:
        bounds = _mean_scores(subject, events)
        found[names[2]] = sampler_checks.bound_below_frequencies(names[2], bounds, counts)
    elif size <= 2:
        log_density = functools.partial(in_chunks, subject.score_under_first(distribution.density))
        for check in sampler_checks.cells(distribution, log_density, _scorer(subject), counts, subject.seed):
            found[check.name] = check
    return found


def _scorer(subject):
    """(rows, seed) -> log_prob with new scoring noise."""

    def log_score(rows, seed):
        rows = subject.cast(rows)
        noise = subject.distribution.scoring_noise(seeds_of(seed, len(rows)))
        condition = repeat_condition(subject.first_condition, rows, subject.exact.compute_dtype)
        return subject.method(subject.distribution, "log_prob_of_rows")(rows, condition, noise)

    return log_score


def _mean_scores(subject, events):
    """A bound's mean over 64 draws of its noise, less six standard errors; a lower bound itself where it draws none."""
    if subject.distribution.kind == "lower bound":
        return in_chunks(subject.score_under_first(subject.distribution), events)
    draws = np.stack([np.asarray(_scorer(subject)(events, subject.seed + k), np.float64) for k in range(64)])
    return draws.mean(axis=0) - 6 * draws.std(axis=0, ddof=1) / 8


def _real_checks(subject, names):
    """Of reals: a grid in one and two dimensions, a bridge in up to eight."""
    density, size = subject.density, subject.size
    mass, bridge = names[0], names[3]
    found = {}
    if size > 2:
        found[mass] = Check.skip(mass, f"{size} dimensions; a grid goes to 2")
    if size > MOST_OF_A_BRIDGE:
        found[bridge] = Check.skip(bridge, f"{size} dimensions; a mixture is fitted to {MOST_OF_A_BRIDGE}")
        return found
    if not density.dtype.is_floating:
        return {name: Check.skip(name, f"integers without a known range (dtype {density.dtype.name})") for name in (mass, bridge)}
    support = _unconstrained(density)
    if support is None:
        return {name: Check.skip(name, "a support that TFP does not know") for name in (mass, bridge)}
    to_reals, log_prob = support
    samples = np.asarray(to_reals(subject.draws(density, 1 << 15, subject.seed + 1)))

    log_prob_of_rows = subject.score_under_first(density) if log_prob is None else log_prob
    at_most = density.kind != "exact"
    if not samples.shape[1] or not np.isfinite(samples).all():
        return {name: Check.skip(name, "samples on the boundary of the support") for name in (mass, bridge)}
    if size <= 2 and subject.is_dequantized and not subject.distribution.event.is_discrete:
        found[mass] = Check.skip(mass, "columns of integers and of reals")
    elif size <= 2 and subject.is_dequantized:
        levels, few = subject.distribution.levels, samples[:4096]
        found[mass] = box_mass(mass, log_prob_of_rows, few, 0, levels, subject.tolerances.mass)
    elif samples.shape[1] <= 2:
        tolerance = subject.tolerances.mass
        found[mass] = total_mass(mass, log_prob_of_rows, samples[:4096], tolerance, at_most=at_most)
    if at_most:
        found[bridge] = Check.skip(bridge, "log_prob is no density, but a bound")
    else:
        found[bridge] = sampler_checks.bridge(bridge, log_prob_of_rows, samples, subject.seed)
    return found


def _unconstrained(density):
    """(to_reals, log_prob) of a density: x [n, *event] -> y [n, k] over all of R^k, and y -> its log-density, None where y is x.
    None where TFP does not know the support."""
    try:
        bijector = density.experimental_default_event_space_bijector()
    except NotImplementedError:
        bijector = None
    if bijector is None:
        return None
    shape = bijector.inverse_event_shape(density.event_shape)
    size = int(np.prod(shape, dtype=int))
    if isinstance(bijector, tfb.Identity):
        return lambda x: tf.reshape(x, (-1, size)), None

    # Copies of tensors, so that TFP's cache does not answer in place of the mathematics.
    def log_prob(y):
        y = tf.reshape(y, (-1, *shape))
        log_det = bijector.forward_log_det_jacobian(tf.identity(y), event_ndims=len(shape))
        return density.log_prob_of_rows(bijector.forward(tf.identity(y))) + log_det

    return lambda x: tf.reshape(bijector.inverse(tf.identity(x)), (-1, size)), log_prob


def total_probability(name, log_probs, tolerance):
    """How far the sum of P(x) over all events, of log_probs [E], is from 1."""
    total = float(np.exp(np.asarray(log_probs, np.float64)).sum())
    return Check(name, abs(total - 1), tolerance, f"{total:.6f} over all {len(log_probs)} events")


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
