"""Checks of an `Autoregressive` distribution: network, family, sampler and score belong to one another.

Parameters of `call` at given rows are what all else is measured against.
"""

import numpy as np
import tensorflow as tf
from scipy import special

from tfdgm.tasks import evidence
from tfdgm.tasks.check import Check, worst
from tfdgm.tasks.score_checks import same_scores
from tfdgm.tasks.subject import MOST_DIMENSIONS, seeds_of

_NUMBERS = 1 << 22  # The most that a table of all levels, or of all parameters, holds.


def checks(subject):
    """Of an autoregressive distribution of x, or of a flow's z."""
    names = [
        "draws = those of call",
        "log_prob = sum of positions",
        "samples as their positions say",
        "family: draws follow log_prob",
        "family: mass",
    ]
    source, tolerances, seed = subject.source, subject.tolerances, subject.seed
    if not source.is_autoregressive:
        yield from (Check.skip(name, "no autoregressive distribution") for name in names)
        return

    n = 256 if subject.size <= MOST_DIMENSIONS else 64
    noise = source.draw_noise(seeds_of(seed, n))
    condition = subject.conditions_of_source(subject.conditions(n))
    x = subject.method(source, "from_noise")(noise, condition)
    again = draws_of_call(source, x, condition, noise)
    yield draws_follow_call(names[0], x, again, tolerances.inverse, tolerances.ties)
    family = source.family
    n = rows_for_residuals(subject.rows_of_a_test, subject.size, family.levels)
    x, condition = subject.samples(n)
    x, condition = subject.to_source(x, condition), subject.conditions_of_source(condition)
    params, has_ended = params_of_call(source, x, condition), source.likelihood.has_ended(x)
    of_positions = family.log_prob(params, tf.cast(x, params.dtype), source.likelihood.positions)
    of_positions = tf.reshape(tf.where(has_ended, tf.zeros_like(of_positions), of_positions), (n, -1))
    score = subject.method(source, "log_prob_of_rows")(x, condition)
    parts = tf.reduce_sum(of_positions, axis=1)
    yield same_scores(names[1], score, parts, tolerances.score, "log_prob, family's at parameters of call")
    params, x = tf.reshape(params, (n, subject.size, -1)), np.asarray(x).reshape(n, subject.size)
    yield samples_follow_score(names[2], family, params, x, seed, np.reshape(has_ended, x.shape))
    some = np.random.default_rng(seed).permutation(x.size)[:1024]
    params, x = tf.gather(tf.reshape(params, (x.size, -1)), some), x.ravel()[some]
    yield family_draws(names[3], family, params, seed)
    yield family_mass(names[4], family, params, x, tolerances.total)


def params_of_call(distribution, x, condition):
    """The network's parameters [n, *event, params_size] at rows x, from `call`."""
    network = distribution.network
    return network(tf.cast(x, network.compute_dtype), condition=distribution.standardized(condition))


def draws_of_call(distribution, x, condition, uniforms):
    """Each position of rows x drawn again, from what `call` gives at x and the uniform numbers of `draw_noise`; what follows an
    `end` as it is."""
    likelihood = distribution.likelihood
    drawn = likelihood.family.sample(params_of_call(distribution, x, condition), uniforms, likelihood.positions)
    return tf.where(likelihood.has_ended(x), tf.cast(x, drawn.dtype), drawn)


def draws_follow_call(name, x, again, tolerance, allowed):
    """A sample x, and `draws_of_call` at that sample and the same uniform numbers.

    Null hypothesis: they agree. Statistic: the rows that differ, in the worst position; `allowed` where a uniform number is on
    the edge between two values or components, and rounding chooses. Exact; built to see one position's parameters moved by 0.1,
    a temperature, a shift, a condition left out: each changes some percent of the draws.
    """
    x, again = (np.asarray(value, np.float64).reshape(len(value), -1) for value in (x, again))
    count = (~(np.abs(again - x) <= tolerance * (1 + np.abs(x)))).sum(axis=0)
    return Check(name, int(count.max()), allowed, f"rows of {len(x)} that differ at position {int(count.argmax())}")


def samples_follow_score(name, family, params, x, seed, has_ended):
    """x [n, D] and the parameters [n, D, P] of `call` at x: are the samples draws from the density that scores them?
    has_ended [n, D]: where x is what it is with probability 1.

    Null hypothesis: x_t ~ p(x_t | x_<t). Then F(x_t | x_<t) (of integers, a uniform number between F(x_t - 1) and F(x_t)) are
    independent uniform numbers, and log P(x_t | x_<t) is on average what it should be. Level 1e-7. Built to see a temperature of
    0.9 in 8,000 positions of middling entropy, and of 0.95 in 30,000.
    """
    n, size = x.shape
    scores, found = _normal_scores(family, tf.reshape(params, (n * size, -1)), x.reshape(-1), seed, has_ended.reshape(-1))
    if scores is None:
        return Check.skip(name, found)
    return _worse(name, evidence.against_standard_normal(scores.reshape(n, size)), found, f"{n} rows")


def family_draws(name, family, params, seed):
    """`family.sample` from `params` [m, P] against its log_prob: the same statistics, of up to 131,072 draws (of 256 levels,
    16,384). Level 1e-7. Built to see a temperature of 0.95, a mean moved by 0.02 standard deviations."""
    count = min(1 << 17, _NUMBERS // max(family.params_size, family.levels or 1))
    random = np.random.default_rng(seed)
    params = tf.gather(params, np.arange(count) % len(params))
    uniforms = tf.constant(random.uniform(2.0**-24, 1 - 2.0**-24, (count, family.uniforms_size)), params.dtype)
    x = np.asarray(family.sample(params, uniforms), np.float64)
    scores, found = _normal_scores(family, params, x, seed + 1, np.zeros(count, bool))
    if scores is None:
        return Check.skip(name, found)
    return _worse(name, evidence.against_standard_normal(scores), found, f"{count} draws")


def family_mass(name, family, params, x, tolerance):
    """How far the probabilities of all levels are from adding up to 1, under params [m, P]; of reals, how far log_prob at x [m]
    is from that of `family.distribution(params)`, which is TFP's."""
    if family.levels:
        error = np.abs(np.exp(_log_table(family, params)).sum(axis=1) - 1)
        return Check(
            name, worst(error), tolerance, f"|sum over {family.levels} levels - 1|, the worst of {len(params)} positions"
        )
    try:
        expected = np.asarray(family.distribution(params).log_prob(tf.constant(x, params.dtype)), np.float64)
    except NotImplementedError:
        return Check.skip(name, "the family has no `distribution` to compare with")
    error = np.abs(np.asarray(family.log_prob(params, tf.constant(x, params.dtype)), np.float64) - expected)
    return Check(
        name, worst(error / np.maximum(1, np.abs(expected))), tolerance, f"from TFP's log_prob, over {len(params)} positions"
    )


def rows_for_residuals(n, size, levels):
    """How many rows, n at most, a table of all levels at all positions has room for."""
    return max(1, min(n, 2 * _NUMBERS // (size * (levels or 1))))


def _worse(name, first, second, detail):
    value, statistic = first if second is None else max(first, second)
    return Check(name, value, evidence.LEVEL, f"-log10 p of the {statistic}, {detail}")


def _normal_scores(family, params, x, seed, is_certain):
    """x [m], drawn from params [m, P] or where it is_certain [m] known beforehand, as standard normal numbers, and for levels the
    evidence of their log P as well; (None, why) where there is no distribution function."""
    found = None
    if family.levels:
        chosen = np.clip(x, 0, family.levels - 1).astype(int)
        is_chosen = np.eye(family.levels, dtype=bool)[chosen]
        log_p = np.where(is_certain[:, None], np.where(is_chosen, 0, -np.inf), _log_table(family, params))
        found = evidence.against_surprise(log_p, is_chosen)
        p = np.exp(log_p)
        upper = np.take_along_axis(np.cumsum(p, axis=1), chosen[:, None], axis=1)[:, 0]
        u = upper - np.random.default_rng(seed).uniform(size=len(x)) * np.take_along_axis(p, chosen[:, None], axis=1)[:, 0]
        u[x != chosen] = np.nan
    else:
        try:
            u = np.asarray(family.distribution(params).cdf(tf.constant(x, params.dtype)), np.float64)
        except NotImplementedError:
            return None, "the family has no distribution function"
    return special.ndtri(np.clip(u, 2.0**-24, 1 - 2.0**-24)), found


def _log_table(family, params):
    """log P of every level under params [m, P]: [m, L]."""
    parts = [np.asarray(family.log_probs(params[start : start + 1024]), np.float64) for start in range(0, len(params), 1024)]
    return np.concatenate(parts)
