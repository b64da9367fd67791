import dataclasses
import math

import numpy as np

from tfdgm.non_finite import NonFinite


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The likelihood of many rows.

    Attributes:
      nll: mean of -log p(x), nats, the weighted one where rows have weights; of the kind "estimate", of the mean over draws,
        which is an upper bound.
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
    count, scores, weights = 0, [], []
    for batch in dataset:
        batch = dict(batch)
        weights.append(np.asarray(batch.pop("weight", np.ones(len(batch["x"]))), np.float64))
        scores.append(np.asarray(model.lower_bound(**batch, first_row=count), np.float64))
        count += len(scores[-1])
    if not count:
        raise ValueError("There are no rows to evaluate.")
    scores, weights = np.concatenate(scores), np.concatenate(weights)
    found = NonFinite()
    found.add(scores)
    found.warn()
    mean, shares = np.average(scores, weights=weights), weights / weights.sum()
    # Of a mean of independent rows with given weights; of equal ones, the sample's deviation over sqrt(n).
    squares = np.sum((shares * (scores - mean)) ** 2) if math.isfinite(mean) else float("nan")
    error = math.sqrt(squares * count / (count - 1)) if count > 1 else float("nan")
    size = math.prod(model.event_shape)
    return Evaluation(
        -float(mean),
        error,
        -float(mean) / (size * math.log(2)) if model.levels and None not in np.ravel(model.levels) else None,
        count,
    )
