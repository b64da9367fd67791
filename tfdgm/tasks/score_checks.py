"""Checks of log_prob as a function of rows and weights."""

import numpy as np
import tensorflow as tf

from tfdgm.tasks.check import Check, worst, worst_of
from tfdgm.tasks.subject import Tolerances, cast, rebuilt, set_weights, tolerances_of


def checks(subject):
    """Finite, of each row by itself, the same in float64, and of the weights as they are now."""
    model, x, tolerances = subject.model, subject.x, subject.tolerances
    scores = model.log_prob(x, condition=subject.condition)
    yield finite("finite log_prob", scores)
    if subject.distribution.levels is None:
        extreme = x.mean(axis=0, keepdims=True) + 1e3 * (1 + x.std(axis=0, keepdims=True))
    else:
        top = [(level or 2) - 1 for level in np.ravel(subject.distribution.levels)]
        extreme = np.broadcast_to(np.array(top, x.dtype), x[:1].shape)
    log_prob = subject.score_under_first(subject.distribution)
    yield rows_independent("rows scored independently", log_prob, x, extreme, tolerances.score)
    name = "float32 = float64"
    if subject.exact is model:
        yield Check.skip(name, f"the model is {model.compute_dtype}, and all of this report")
    else:
        noise = subject.noise_of_scores(x)
        one, other = (subject.scores_by(m, *([] if noise is None else [noise])) for m in (model, subject.exact))
        yield same_scores(name, one, other, 10 * Tolerances().inverse, "the model, and built in float64")
    yield _weights_check(subject, scores)


def _weights_check(subject, scores):
    """Scores of the same tensor before and after all weights change, against those of a model built anew with such weights."""
    name, model = "scores follow the weights", subject.model
    again = rebuilt(model, model.compute_dtype)
    if again is None:
        return Check.skip(name, "no config to build the model anew from")
    x, condition = tf.constant(subject.x, model.distribution.dtype), cast(subject.condition, model)
    random, weights = np.random.default_rng(subject.seed), [weight.numpy() for weight in model.weights]
    pairs = [(scores, again.distribution.log_prob_of_rows(x, condition))]
    pairs.append((model.distribution.log_prob_of_rows(x, condition), pairs[0][1]))

    def moved(value):
        floating = np.issubdtype(value.dtype, np.floating)
        return value * (1 + 0.1 * random.normal(size=value.shape)) + 0.01 if floating else value

    try:
        set_weights(model, [moved(value) for value in weights])
        again = rebuilt(model, model.compute_dtype)
        expected = again.distribution.log_prob_of_rows(x, condition)
        pairs.append((model.distribution.log_prob_of_rows(x, condition), expected))
        pairs.append((model.log_prob(subject.x, condition=subject.condition), expected))
    finally:
        set_weights(model, weights)
    tolerance = 10 * tolerances_of(model).score
    detail = "before and after they change, and built anew"
    return worst_of([same_scores(name, *pair, tolerance, detail) for pair in pairs])


def finite(name, scores):
    """How many rows have a log-probability that is not finite."""
    bad = ~np.isfinite(np.asarray(scores))
    detail = f"rows of {len(bad)}" + (f"; the first is row {int(np.argmax(bad))}" if bad.any() else "")
    return Check(name, int(bad.sum()), 0, detail)


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
