"""Completion of rows of which some positions are known.

Unknown positions are drawn one after the other from p(x_t | x_<t). Where all known positions of a row come before its
unknown ones in the network's order (the upper rows of an image), that is an exact draw from p(unknown | known).
Otherwise a draw does not look at the known positions that come later, and a warning says so.

With `num_candidates` = K, K completions of a row are drawn in this way, and one of them is chosen with probability
proportional to its importance weight (sampling importance resampling: Rubin 1988; the weights are those of likelihood
weighting: Fung & Chang 1990; Shachter & Peot 1990):

    q(unknown) = prod_(t unknown) p(x_t | x_<t),  w = p(x) / q(unknown) = prod_(t known) p(x_t | x_<t)

This tends to a draw from p(unknown | known) as K grows, with an error of order var(w) / (K mean(w)^2), and costs K times
as much. Where much is known late, var(w) is enormous: the candidates say little about what is known, the best of them
outweighs the rest, and what is chosen is the best of K rather than a draw. A warning says so where the effective number
of candidates, (sum w)^2 / sum w^2, is below 2.
"""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm.arguments import check_whole
from tfdgm.columns import in_order
from tfdgm.distributions import candidates
from tfdgm.distributions.noise import derived_seeds
from tfdgm.models.arguments import seeds_of_rows


def complete(
    model: keras.Model,
    x: ArrayLike,
    known: ArrayLike,
    seed: int | None,
    condition: ArrayLike | None,
    num_candidates: int | None,
) -> tf.Tensor:
    """`DensityModel.complete`."""
    x = model.check_x(x)
    batch = model.event.batch_of(x)
    known = model.event.zeros_and_ones(in_order(known, model.column_names, "known"), x.shape, "to be drawn", "kept")
    condition = model.check_condition(condition, batch)
    k = 1 if num_candidates is None else num_candidates
    check_whole(num_candidates=k)
    x, known = (rows.reshape((-1, *model.event_shape)) for rows in (x, known))
    n, seeds = len(x), seeds_of_rows(seed, len(x))
    flat = known.reshape((n, math.prod(model.event_shape)))
    exact = candidates.known_come_first(model.distribution.network.order, flat).numpy()
    if k == 1 or not n:
        drawn = model.runner("complete", seeds, condition, x, known)
        if not exact.all():
            warnings.warn(
                f"In {n - exact.sum()} of {n} rows, known positions come after unknown ones in the network's order. What is "
                "drawn there does not look at them: it is no draw from p(unknown | known). See num_candidates.",
                stacklevel=3,
            )
        return tf.reshape(drawn, (*batch, *model.event_shape))
    all_seeds = tf.reshape(derived_seeds(seeds, k), (-1, 2))
    repeated = [None if rows is None else np.repeat(rows, k, axis=0) for rows in (condition, x, known)]
    drawn = model.runner("complete", all_seeds, *repeated)
    log_probs = model.runner("log_prob_of_positions", drawn, repeated[0])
    log_weights = tf.reduce_sum(tf.reshape(tf.where(repeated[2] != 0, log_probs, 0), (n, k, -1)), axis=2)
    chosen, effective = candidates.choose(log_weights, seeds)
    few = int(np.sum((effective.numpy() < 2) & ~exact))
    if few:
        warnings.warn(
            f"In {few} of {n} rows, one of the {k} candidates outweighs all others (effective number below 2): what is "
            "drawn there is the best of these rather than a draw from p(unknown | known).",
            stacklevel=3,
        )
    drawn = tf.gather(tf.reshape(drawn, (n, k, *model.event_shape)), chosen, batch_dims=1)
    return tf.reshape(drawn, (*batch, *model.event_shape))
