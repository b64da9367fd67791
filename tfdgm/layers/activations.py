import math

from keras import ops


def bounded_log_scale(raw, bound=7.0):
    """log s = bound * raw / (bound + |raw|), in (-bound, bound), slope 1 at 0.

    exp(log s) then stays within 1e-3 .. 1e3, which keeps float32 inverses accurate and gradients finite.
    """
    return raw / (1 + ops.abs(raw) / bound)


def unbounded_log_scale(log_scale, bound=7.0):
    """The inverse of `bounded_log_scale`; what is beyond 6/7 of the bound, which takes large numbers to reach, is cut off."""
    log_scale = ops.clip(log_scale, -6 / 7 * bound, 6 / 7 * bound)
    return log_scale / (1 - ops.abs(log_scale) / bound)


def normal_quantile(uniform):
    """The standard normal quantile of u in (0, 1): z = sqrt(2) erfinv(2 u - 1)."""
    return math.sqrt(2) * ops.erfinv(2 * uniform - 1)
