"""Checks of what samples and scores are made of: noise, the base of a flow, dequantization."""

import math

import numpy as np
import tensorflow as tf
from scipy import special, stats

from tfdgm.tasks import evidence
from tfdgm.tasks.check import Check, worst
from tfdgm.tasks.score_checks import same_scores
from tfdgm.tasks.subject import seeds_of


def checks(subject):
    """The noise of samples and of scores, the base by itself, and samples as far as noise makes them."""
    distribution, source, seed = subject.distribution, subject.source, subject.seed
    seeds = seeds_of(seed, min(1 << 14, max(1 << 10, (1 << 20) // subject.size)))
    names = ["noise of samples", "noise of scores", "score = density at x + u", "samples = floors of the density's"]
    if source.noise_law:
        yield noise_law(names[0], distribution.draw_noise(seeds), source.noise_law)
    else:
        yield Check.skip(names[0], f"the law of its noise is {type(source).__name__}'s own")
    if subject.is_dequantized:
        x = subject.cast(np.resize(subject.x, (len(seeds), *subject.x.shape[1:])))
        noise = np.asarray(distribution.scoring_noise(seeds))
        integers = np.broadcast_to(distribution.are_integers, noise.shape[1:])
        yield noise_law(names[1], noise[:, integers], "uniform")
        n = len(subject.x)
        noise, condition = subject.noise_of_scores(subject.x), subject.conditions(n)
        score = subject.method(distribution, "log_prob_of_rows")(subject.cast(subject.x), condition, noise)
        expected = subject.method(distribution.density, "log_prob_of_rows")(subject.real, condition)
        yield same_scores(names[2], score, expected, subject.tolerances.score, "log_prob, density's")
        noise, condition = distribution.draw_noise(seeds_of(seed, 256)), subject.conditions(256)
        x, real = (subject.method(d, "from_noise")(noise, condition) for d in (distribution, distribution.density))
        yield samples_are_floors(names[3], x, real, distribution.levels, subject.tolerances.ties)
    else:
        yield from (Check.skip(name, "no dequantization") for name in names[1:])
    names = ["base = SciPy's normal", "samples come from the normal"]
    if source.is_standard_normal:
        z = source.draw_noise(seeds_of(seed + 1, 256))
        yield standard_normal_score(names[0], source, z, subject.tolerances.score)
        x, condition = subject.samples(subject.rows_of_a_test)
        yield base_of_samples(names[1], subject.to_source(x, condition))
    else:
        yield from (Check.skip(name, f"the base is {type(source).__name__}") for name in names)


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


def samples_are_floors(name, x, real, levels, allowed):
    """How many rows of a sample x are not the floor, kept within the levels, of the density's sample from the same noise."""
    x, real = np.asarray(x), np.asarray(real, np.float64)
    top = np.array(levels, np.float64) - 1  # NaN of real columns, which stay as they are.
    floors = np.where(np.isnan(top), real, np.clip(np.floor(real), 0, np.nan_to_num(top)))
    bad = (x != floors).reshape(len(x), -1).any(axis=1)
    return Check(name, int(bad.sum()), allowed, f"rows of {len(x)}")
