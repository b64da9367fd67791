"""Checks of a `Dequantized` distribution: its score and its samples are those of its density, its noise covers a level."""

import numpy as np

from tfdgm.tasks import evidence
from tfdgm.tasks.check import Check
from tfdgm.tasks.sampler_checks import events_of

_POINTS = 1 << 17  # Evaluations of the density in all cells.


def samples_are_floors(name, x, real, levels, allowed):
    """How many rows of a sample x are not the floor, kept within the levels, of the density's sample from the same noise."""
    x, real = np.asarray(x), np.asarray(real, np.float64)
    bad = (x != np.clip(np.floor(real), 0, levels - 1)).reshape(len(x), -1).any(axis=1)
    return Check(name, int(bad.sum()), allowed, f"rows of {len(x)}")


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
