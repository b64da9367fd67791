import math

from keras import ops

from tfdgm.families.family import Family
from tfdgm.layers import bounded_log_scale, normal_quantile


class Normal(Family):
    """x real: log p(x) = -((x - m) / s)^2 / 2 - log s - log(2 pi) / 2, params = [m, r], log s = bounded_log_scale(r)."""

    params_size = 2
    is_reparameterized = True

    def log_prob(self, params, x, position=None):
        m, log_s = params[..., 0], bounded_log_scale(params[..., 1])
        return -0.5 * ops.square((x - m) * ops.exp(-log_s)) - log_s - 0.5 * math.log(2 * math.pi)

    def sample(self, params, uniforms, position=None):
        m, log_s = params[..., 0], bounded_log_scale(params[..., 1])
        return m + ops.exp(log_s) * normal_quantile(uniforms[..., 0])

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Normal(params[..., 0], ops.exp(bounded_log_scale(params[..., 1])))
