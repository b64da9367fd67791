import math

from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.families.family import Family
from tfdgm.families.log_weights import log_weights
from tfdgm.families.quantiles import middles, quantiles_and_width
from tfdgm.layers import bounded_log_scale, inverse_cdf, normal_quantile, unbounded_log_scale


class MixtureOfNormals(Family):
    """x real: log p(x) = log sum_k w_k N(x; m_k, s_k), as in RNADE (Uria et al. 2013, arXiv:1306.0186, eq. 6).

    params = [a_1..a_K, m_1..m_K, r_1..r_K]: w = softmax(a), log s_k = bounded_log_scale(r_k).

    Args:
      num_components: K.
    """

    uniforms_size = 2

    def __init__(self, num_components=10):
        check_whole(num_components=num_components)
        self.num_components = num_components
        self.params_size = 3 * num_components

    def _split(self, params):
        k = self.num_components
        return params[..., :k], params[..., k : 2 * k], bounded_log_scale(params[..., 2 * k :])

    def log_prob(self, params, x, position=None):
        a, m, log_s = self._split(params)
        z = (x[..., None] - m) * ops.exp(-log_s)
        log_n = -0.5 * ops.square(z) - log_s - 0.5 * math.log(2 * math.pi)
        return ops.logsumexp(log_weights(a) + log_n, axis=-1)

    def sample(self, params, uniforms, position=None):
        a, m, log_s = self._split(params)
        component = inverse_cdf(ops.exp(log_weights(a)), uniforms[..., 0])
        chosen = ops.one_hot(component, self.num_components, dtype=params.dtype)
        m, log_s = ops.sum(chosen * m, axis=-1), ops.sum(chosen * log_s, axis=-1)
        return m + ops.exp(log_s) * normal_quantile(uniforms[..., 1])

    def initial_params(self):
        """Means at the quantiles of the standard normal, scales 1."""
        means = normal_quantile(middles(self.num_components))
        zeros = ops.zeros_like(means)
        return ops.concatenate([zeros, means, zeros])

    def marginal_params(self, x):
        """Means at the quantiles of each position, which differ even where it is constant."""
        means, width = quantiles_and_width(x, self.num_components, 0.05)
        raw = unbounded_log_scale(ops.log(width))
        return ops.concatenate([ops.zeros_like(means), means, ops.broadcast_to(raw, means.shape)], axis=-1)

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        a, m, log_s = self._split(params)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=a), tfd.Normal(m, ops.exp(log_s)))
