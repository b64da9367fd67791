"""Checks of a `Dequantized` distribution: its score and its samples are those of its density, its noise covers a level."""

import numpy as np
import tensorflow as tf

from tfdgm.tasks import evidence
from tfdgm.tasks.bijector_checks import worst
from tfdgm.tasks.check import Check
from tfdgm.tasks.sampler_checks import events_of

_POINTS = 1 << 17  # Evaluations of the density in all cells.


def score_is_of_density(name, distribution, x, condition, noise, tolerance):
    """How far log_prob with given noise u is from the density's log_prob at x + u."""
    score = np.asarray(distribution.log_prob_of_rows(x, condition, noise), np.float64)
    density = distribution.density
    expected = np.asarray(density.log_prob_of_rows(tf.cast(x, density.dtype) + noise, condition), np.float64)
    error = np.abs(score - expected) / np.maximum(1, np.abs(expected))
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(x)} rows")


def samples_are_floors(name, distribution, noise, condition):
    """How many rows of a sample are not the floor, kept within the levels, of the density's sample from the same noise."""

    @tf.function(autograph=False)
    def run(noise, condition):
        return distribution.from_noise(noise, condition), distribution.density.from_noise(noise, condition)

    x, real = (np.asarray(value).reshape(len(noise), -1) for value in run(noise, condition))
    expected = np.clip(np.floor(real.astype(np.float64)), 0, distribution.levels - 1)
    bad = (x != expected).any(axis=1)
    return Check(name, int(bad.sum()), 0, f"rows of {len(x)}")


def cells(distribution, log_density, log_score, counts, seed):
    """Of one or two dimensions: P(x) of all events, by Gauss's quadrature of the density over [x, x + 1)^D, against the
    frequencies of samples and against scores. Two checks.

    Frequencies: binomial laws, level 1e-7; events at the edge also get what lies beyond, so those may come more often. Scores
    log p(x + u_k), u_k uniform: E exp(score) = P(x), so by Markov's inequality P(sum_k (score_k - log P) >= s) <= exp(-s): level
    1e-7. Built to see samples rounded to the nearest, and a bound 0.05 nats above log P.

    Args:
      log_density: rows [n, *event] of reals -> log p.
      log_score: (events [n, *event], seed) -> log_prob with new scoring noise.
    """
    frequency, bound = "samples as often as P(x)", "score below log P(x)"
    levels, shape = distribution.levels, tuple(distribution.event_shape.as_list())
    events = events_of(shape, levels)
    p, coarse = (_masses(log_density, events, points) for points in (16, 8))
    if np.abs(p - coarse).max() > 1e-4:
        reason = f"the density is too sharp for a quadrature: {p.sum():.4f}, and {coarse.sum():.4f} with half the points"
        return [Check.skip(name, reason) for name in (frequency, bound)]
    if counts is None:
        return [Check(frequency, np.inf, evidence.LEVEL, "a sample is none of the levels"), Check.skip(bound, "no samples")]
    flat = events.reshape(len(events), -1)
    inside = ((flat > 0) & (flat < levels - 1)).all(axis=1)
    n = int(counts.sum())
    found = [evidence.against_counts(counts, n, p, at_least=True)]
    if inside.any():
        found.append(evidence.against_counts(counts[inside], n, p[inside]))
    value, statistic = max(found)
    checks = [Check(frequency, value, evidence.LEVEL, f"-log10 p of {statistic}, {n} draws of {len(events)} events")]
    draws = max(64, min(1024, _POINTS // len(events)))
    scores = np.asarray(log_score(np.tile(events, (draws, *(1,) * len(shape))), seed), np.float64).reshape(draws, -1)
    common = (p > 1e-6) & (np.abs(p - coarse) < 1e-4 * p)
    excess = np.sum(scores[:, common] - np.log(p[common]), axis=0)
    value = max(0.0, (excess.max() - np.log(len(excess))) / np.log(10)) if common.any() else np.nan
    checks.append(Check(bound, value, evidence.LEVEL, f"-log10 p of the highest of {common.sum()} events, {draws} draws each"))
    return checks


def _masses(log_density, events, points):
    """The integral of the density over the cell of each event [E, *event]."""
    size = int(np.prod(events.shape[1:], dtype=int))
    nodes, weights = np.polynomial.legendre.leggauss(points)
    mesh = np.stack(np.meshgrid(*[(nodes + 1) / 2] * size, indexing="ij"), axis=-1).reshape(-1, size)
    weight = np.prod(np.meshgrid(*[weights / 2] * size, indexing="ij"), axis=0).ravel()
    rows = (events.reshape(len(events), 1, size) + mesh).reshape(-1, *events.shape[1:])
    return np.exp(np.asarray(log_density(rows), np.float64)).reshape(len(events), -1) @ weight
