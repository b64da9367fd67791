"""Checks of what samples are made of, and of samples against the density or mass function of their own distribution."""

import itertools
import math
import warnings

import numpy as np
import tensorflow as tf
from scipy import special, stats

from tfdgm.tasks import evidence
from tfdgm.tasks.bijector_checks import worst
from tfdgm.tasks.check import Check
from tfdgm.tasks.density_checks import in_chunks

MOST_EVENTS = 4096  # of a comparison with the frequencies of each.


def seeds_of(seed, n):
    """n different seeds: half of them differ in the second number, half in the first."""
    i = np.arange(n)
    return tf.constant(
        np.where(i[:, None] < n // 2, np.stack([0 * i + seed, i], 1), np.stack([seed + 1 + i, 0 * i], 1)), tf.int32
    )


def noise_law(name, noise, law):
    """`noise` [n, ...] of n different seeds: independent numbers, standard "normal" or "uniform" in (0, 1)?

    Level 1e-7. Built to see a scale of 0.95, noise of half the interval, equal noise in all rows or dimensions, in 16,384 rows.
    """
    noise = np.asarray(noise, np.float64).reshape(len(noise), -1)
    with np.errstate(invalid="ignore"):
        value, statistic = evidence.against_standard_normal(special.ndtri(noise) if law == "uniform" else noise)
    detail = f"-log10 p of the {statistic}, {len(noise)} rows"
    repeated = len(noise) - len(np.unique(noise, axis=0))
    if repeated > noise.shape[0] ** 2 * 2.0 ** (-23 * noise.shape[1]) + 2:
        value, detail = math.inf, f"{repeated} of {len(noise)} seeds repeat another's noise"
    return Check(name, value, evidence.LEVEL, detail)


def base_of_samples(name, z):
    """z [n, ...], what samples of a flow over the standard normal come from: standard normal numbers? Level 1e-7. Built to see a
    temperature of 0.95 in 16,000 numbers."""
    value, statistic = evidence.against_standard_normal(z)
    return Check(name, value, evidence.LEVEL, f"-log10 p of the {statistic}, {len(z)} rows")


def standard_normal_score(name, base, z, tolerance):
    """How far the base's log_prob is from SciPy's standard normal."""
    z = np.asarray(z)
    expected = stats.norm.logpdf(np.asarray(z, np.float64).reshape(len(z), -1)).sum(axis=1)
    error = np.abs(np.asarray(base.log_prob_of_rows(tf.constant(z)), np.float64) - expected)
    return Check(name, worst(error / np.maximum(1, np.abs(expected))), tolerance, f"from SciPy's, over {len(z)} rows")


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
