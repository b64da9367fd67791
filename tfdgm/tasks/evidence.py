"""Statistical tests of numbers whose law is known. Each returns the evidence against that law: -log10 of a p-value, corrected for
the number of statistics it looks at (Bonferroni). Above `LEVEL` a check fails, so a sound model fails one in 10^LEVEL times.

All are exact or rigorous at every sample size, not asymptotic, so that the level is what it says.
"""

import math

import numpy as np
from scipy import special, stats

#: -log10 of the level of each statistical test.
LEVEL = 7.0


def against_standard_normal(g):
    """g [n, ...]: independent standard normal numbers? -> (evidence, the statistic that shows most).

    Means and sums of squares, of each dimension and of all (exact normal and chi-square laws); the largest distance between
    distribution functions (Dvoretzky, Kiefer & Wolfowitz's inequality with Massart's constant); the correlation of each two
    dimensions, and of rows with their neighbours (Student's t).
    """
    g = np.asarray(g, np.float64).reshape(len(g), -1)
    n, size = g.shape
    if not np.isfinite(g).all():
        return math.inf, "numbers that are not finite"
    squares = np.square(g).sum(axis=0)
    statistics = {
        "mean": [_normal(g.sum() / math.sqrt(n * size))],
        "mean of a dimension": _normal(g.mean(axis=0) * math.sqrt(n)),
        "variance": [_chi_square(squares.sum(), n * size)],
        "variance of a dimension": _chi_square(squares, n),
        "distribution": [math.log(2) - 2 * n * size * _distance(g.reshape(-1, 1))[0] ** 2],
        "distribution of a dimension": math.log(2) - 2 * n * np.square(_distance(g)),
    }
    with np.errstate(invalid="ignore", divide="ignore"):  # Equal numbers have no correlation: NaN, which is evidence.
        if size > 1:
            correlations = np.corrcoef(g, rowvar=False)[np.triu_indices(size, 1)]
            statistics["correlation of two dimensions"] = _correlation(correlations, n)
        neighbours = np.corrcoef(g[1:].ravel(), g[:-1].ravel())[0, 1]
        statistics["correlation of neighbouring rows"] = [_correlation(neighbours, (n - 1) * size)]
    return _most({name: np.asarray(log_p) for name, log_p in statistics.items()})


def against_counts(counts, n, p, at_least=False):
    """Events came `counts` times in n draws: have they the probabilities p (or, `at_least`, none less)? Binomial laws."""
    counts, p = np.asarray(counts), np.clip(np.asarray(p, np.float64), 0, 1)
    log_p = {"an event too rare": stats.binom.logcdf(counts, n, p)}
    if not at_least:
        log_p["an event too frequent"] = stats.binom.logsf(counts - 1, n, p)
    return _most(log_p)


def against_surprise(log_probs, counts):
    """log_probs [m, L] of the levels at m places, and how often each came there: is log P of those that came what is expected?

    S = sum over draws of f(x) - E f, f = log P cut off 5 nats below its mean, to which a temperature adds most of all. Freedman's
    (1975) inequality for martingales of known variance V, each step at most M: P(|S| >= s) <= 2 exp(-s^2 / (2 (V + M s / 3))).
    """
    p = np.exp(log_probs)
    mean = np.sum(p * np.where(p > 0, log_probs, 0), axis=1, keepdims=True)
    f = np.maximum(log_probs, mean - 5)
    expected = np.sum(p * f, axis=1, keepdims=True)
    variance = np.sum(counts * np.sum(p * np.square(f - expected), axis=1, keepdims=True))
    s, step = abs(np.sum(counts * (f - expected))), np.max(np.abs(f - expected))
    log_p = math.log(2) - s**2 / (2 * (variance + step * s / 3)) if s else 0.0
    return _most({"log P of what is drawn": np.asarray([log_p])})


def against_equal_means(pairs):
    """{statistic: (a, b)}, independent numbers in [-1, 1]: have a and b equal means? Maurer & Pontil 2009, arXiv:0907.3740,
    theorem 4, with the sample variance V: |mean - expectation| <= sqrt(2 V t / n) + 14 t / (3 (n - 1)), but for a probability of
    4 exp(-t).
    """
    log_p = {}
    for name, (a, b) in pairs.items():
        difference = abs(np.mean(a) - np.mean(b))
        root = sum(math.sqrt(2 * np.var(v, ddof=1) / len(v)) for v in (a, b))
        linear = sum(14 / (3 * (len(v) - 1)) for v in (a, b))
        bound = ((math.sqrt(root**2 + 4 * linear * difference) - root) / (2 * linear)) ** 2
        log_p[name] = np.asarray([math.log(8) - bound])
    return _most(log_p)


def _most(log_p_values):
    """(evidence, name) of the smallest of the p-values {name: log p [k]}, each corrected for how many there are."""
    evidence = {
        name: float(np.max(np.where(np.isnan(log_p), np.inf, -log_p)) - math.log(len(log_p) * len(log_p_values)))
        for name, log_p in log_p_values.items()
    }
    worst = max(evidence, key=evidence.get)
    return max(0.0, evidence[worst] / math.log(10)), worst


def _normal(z):
    return math.log(2) + stats.norm.logsf(np.abs(z))


def _chi_square(square, degrees):
    return math.log(2) + np.minimum(stats.chi2.logsf(square, degrees), stats.chi2.logcdf(square, degrees))


def _correlation(r, n):
    r = np.clip(r, -1, 1)
    return math.log(2) + stats.t.logsf(np.abs(r) * np.sqrt((n - 2) / (1 - np.square(r))), n - 2)


def _distance(g):
    """The largest difference between the distribution function of each column and the standard normal one."""
    n = len(g)
    f = special.ndtr(np.sort(g, axis=0))
    steps = np.arange(n + 1)[:, None] / n
    return np.maximum(np.abs(f - steps[:-1]), np.abs(f - steps[1:])).max(axis=0)
