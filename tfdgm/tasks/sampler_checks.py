"""Measurements of samples against the density or mass function of their own distribution."""

import itertools
import math
import warnings

import numpy as np
from scipy import special

from tfdgm.tasks import evidence
from tfdgm.tasks.check import Check

MOST_EVENTS = 4096  # of a comparison with the frequencies of each.
_POINTS = 1 << 17  # Evaluations of the density in all cells.
_CHUNK = 1 << 15  # rows


def bridge(name, log_prob, samples, seed):
    """samples [n, k] of a density p over R^k, and its log_prob: does p integrate to 1, and do the samples follow it?

    A mixture of normals q is fitted to a quarter of the samples, and drawn from. For bounded h (Bennett 1976; Meng & Wong 1996)

        E_(x ~ p) h(x) q / (p + q) = integral of h p q / (p + q) = E_(x ~ q) h(x) p / (p + q)

    for h = 1, which a wrong constant spoils, and h = tanh of a coordinate and of the radius, which a wrong sampler does. Level
    1e-7, at any q (Bernstein's inequality). Built to see 0.05 nats, or a shift by 0.15 standard deviations, in 6 dimensions,
    where q covers p: with an overlap of 0.1, nothing below half a nat is seen.
    """
    import sklearn.mixture

    samples = np.asarray(samples)
    if not np.isfinite(samples).all():
        return Check.skip(name, "samples on the boundary of the support")
    n, size = samples.shape
    middle, scale = np.median(samples, axis=0).astype(np.float64), samples.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1)
    near = (samples - middle) / scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That EM has not converged is no matter.
        q = sklearn.mixture.GaussianMixture(6, reg_covar=1e-6, max_iter=30, random_state=seed).fit(near[: n // 4])
    drawn = (q.sample(n - n // 4)[0] * scale + middle).astype(samples.dtype)

    def measured(rows):
        near = (rows - middle) / scale
        distances = [np.square((near - m) @ root).sum(axis=1) for m, root in zip(q.means_, q.precisions_cholesky_, strict=True)]
        h = np.concatenate([near, np.min(distances, axis=0)[:, None] / size - 1], axis=1)
        return in_chunks(log_prob, rows) + np.log(scale).sum() - q.score_samples(near), np.tanh(h)

    (ratio, h), (ratio_of_drawn, h_of_drawn) = measured(samples[n // 4 :]), measured(drawn)
    weights, weights_of_drawn = special.expit(-ratio), special.expit(ratio_of_drawn)
    pairs = {"integral": (weights, weights_of_drawn)}
    for i, statistic in enumerate([*(f"mean of dimension {d}" for d in range(size)), "radius"]):
        pairs[statistic] = (weights * h[:, i], weights_of_drawn * h_of_drawn[:, i])
    value, statistic = evidence.against_equal_means(pairs)
    overlap = 2 * float(np.mean(weights))
    return Check(name, value, evidence.LEVEL, f"-log10 p of the {statistic}, {len(ratio)} rows; overlap with q {overlap:.2f}")


def events_of(event_shape, levels):
    """All events of integers 0..levels-1, int32 [levels^D, *event_shape]."""
    events = itertools.product(range(levels), repeat=math.prod(event_shape))
    return np.array(list(events), np.int32).reshape(-1, *event_shape)


def counts_of(samples, levels):
    """How often each event of `events_of` is among samples [n, *event]; None where one is no event."""
    samples = np.asarray(samples).reshape(len(samples), -1)
    if samples.min() < 0 or samples.max() >= levels:
        return None
    number = samples @ levels ** np.arange(samples.shape[1])[::-1]
    return np.bincount(number, minlength=levels ** samples.shape[1])


def frequencies(name, log_probs, counts):
    """log P of all events and how often each came: do samples follow the mass function? Binomial laws of each event, and the mean
    of log P. Level 1e-7. Built to see a temperature of 0.9 in 16,384 draws."""
    if counts is None:
        return Check(name, math.inf, evidence.LEVEL, "a sample is none of the levels")
    n = int(counts.sum())
    found = evidence.against_counts(counts, n, np.exp(log_probs)), evidence.against_surprise(log_probs[None], counts[None])
    value, statistic = max(found)
    return Check(name, value, evidence.LEVEL, f"-log10 p of the {statistic}, {n} draws of {len(counts)} events")


def bound_below_frequencies(name, bounds, counts):
    """Lower bounds on log P of all events: do they add up to 1 at most, and does each come as often as its bound says, or more?
    Level 1e-7, by the binomial law."""
    if counts is None:
        return Check(name, math.inf, evidence.LEVEL, "a sample is none of the levels")
    total, n = float(np.exp(bounds).sum()), int(counts.sum())
    value, _ = evidence.against_counts(counts, n, np.exp(bounds), at_least=True)
    detail = f"-log10 p of the event that comes least, {n} draws; the sum of exp(bound) is {total:.4f}"
    return Check(name, math.inf if total > 1 + 1e-3 else value, evidence.LEVEL, detail)


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


def in_chunks(log_prob, rows):
    """log_prob of many rows, float64 [n]."""
    return np.concatenate([np.asarray(log_prob(rows[i : i + _CHUNK]), np.float64) for i in range(0, len(rows), _CHUNK)])
