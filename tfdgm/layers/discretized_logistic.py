from keras import ops


def discretized_logistic_log_prob(x, mean, log_scale, levels):
    """log P(x) of a logistic rounded to the levels 0..L-1, nats: Salimans et al. 2017, arXiv:1701.05517, eq. 2.

        P(x) = sigmoid((y + d - m) / s) - sigmoid((y - d - m) / s),  y = 2 x / (L - 1) - 1, d = 1 / (L - 1)

    where level 0 takes all that lies below it (y - d = -infinity) and level L-1 all above, so the P(x) add up to 1. It is exact
    at bins of little mass, as sigmoid(u) - sigmoid(v) = sigmoid(u) sigmoid(-v) (1 - exp(v - u)); the paper's code puts the
    density in their place.
    """
    d = 1 / (levels - 1)
    y = 2 * d * x - 1
    u, v = (y + d - mean) * ops.exp(-log_scale), (y - d - mean) * ops.exp(-log_scale)
    below, above = ops.log_sigmoid(u), ops.log_sigmoid(-v)
    # Every branch is finite, with a finite gradient, at every x.
    inside = below + above + ops.log(-ops.expm1(-2 * d * ops.exp(-log_scale)))
    return ops.where(x < 0.5, below, ops.where(x > levels - 1.5, above, inside))
