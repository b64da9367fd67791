import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The likelihood of many rows.

    Attributes:
      nll: mean of -log p(x), nats; of the kind "estimate", of the mean over draws, which is an upper bound.
      standard_error: of that mean, over rows; the error of random draws is part of it.
      bits_per_dim: nll / (D log 2); None for real-valued data, where it depends on the data's unit.
      rows: how many.
      log_likelihood: -nll.
    """

    nll: float
    standard_error: float
    bits_per_dim: float | None
    rows: int

    @property
    def log_likelihood(self):
        return -self.nll


def evaluate(model, dataset):
    """The mean log-likelihood of a tf.data of batches, dicts, through `model.lower_bound`: `log_prob` of exact
    models, eight draws a row of estimates."""
    count, mean, squares = 0, 0.0, 0.0
    for batch in dataset:
        log_prob = np.asarray(model.lower_bound(**batch, first_row=count), np.float64)
        # Chan et al. 1979: mean and sum of squared deviations of two sets, from those of each.
        n, m = len(log_prob), log_prob.mean()
        delta = m - mean
        mean += delta * n / (count + n)
        squares += ((log_prob - m) ** 2).sum() + delta**2 * count * n / (count + n)
        count += n
    if not count:
        raise ValueError("There are no rows to evaluate.")
    error = math.sqrt(squares / (count - 1) / count) if count > 1 else float("nan")
    size = math.prod(model.event_shape)
    return Evaluation(-float(mean), error, -float(mean) / (size * math.log(2)) if model.levels else None, count)
