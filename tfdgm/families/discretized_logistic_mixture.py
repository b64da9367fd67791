import math

from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.families.family import Family
from tfdgm.families.log_weights import log_weights
from tfdgm.families.quantiles import middles, quantiles_and_width
from tfdgm.layers import bounded_log_scale, discretized_logistic_log_prob, inverse_cdf, unbounded_log_scale


class DiscretizedLogisticMixture(Family):
    """x in 0..L-1: a mixture of logistics, rounded to the levels: PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, eq. 1-2.

        P(x) = sum_k w_k (sigmoid((y + d - m_k) / s_k) - sigmoid((y - d - m_k) / s_k)),  y = 2 x / (L - 1) - 1, d = 1 / (L - 1)

    where level 0 takes all that lies below it (y - d = -infinity) and level L-1 all above, so the P(x) add up to 1.

    params = [a_1..a_K, m_1..m_K, r_1..r_K]: w = softmax(a), log s_k = bounded_log_scale(r_k). The paper cuts log s off at -7.
    A family knows one value, and the paper's mixture is over three colours together (eq. 3): `networks.ColourCoupling` gives each
    colour the parameters that this comes to. Other networks give each colour parameters of its own, which see those before it.

    Args:
      levels: L, 2 or more.
      num_components: K.
    """

    uniforms_size = 2

    def __init__(self, levels=256, num_components=10):
        check_whole(2, levels=levels)
        check_whole(num_components=num_components)
        self.levels, self.num_components = levels, num_components
        self.params_size = 3 * num_components

    def _split(self, params):
        k = self.num_components
        return params[..., :k], params[..., k : 2 * k], bounded_log_scale(params[..., 2 * k :])

    def log_prob(self, params, x, position=None):
        a, m, log_s = self._split(params)
        log_bin = discretized_logistic_log_prob(x[..., None], m, log_s, self.levels)
        return self._on_levels(ops.logsumexp(log_weights(a) + log_bin, axis=-1), x)

    def sample(self, params, uniforms, position=None):
        a, m, log_s = self._split(params)
        component = inverse_cdf(ops.exp(log_weights(a)), uniforms[..., 0])
        chosen = ops.one_hot(component, self.num_components, dtype=params.dtype)
        m, log_s = ops.sum(chosen * m, axis=-1), ops.sum(chosen * log_s, axis=-1)
        logit = ops.log(uniforms[..., 1]) - ops.log1p(-uniforms[..., 1])
        y = m + ops.exp(log_s) * logit
        return ops.clip(ops.round((y + 1) * (self.levels - 1) / 2), 0, self.levels - 1)

    def initial_params(self):
        """Means spread evenly over the levels, scales 1: half of their range."""
        means = 2 * middles(self.num_components) - 1
        zeros = ops.zeros_like(means)
        return ops.concatenate([zeros, means, zeros])

    def marginal_params(self, x):
        """Means at the quantiles of each position, which differ even where it is constant."""
        means, width = quantiles_and_width(2 * x / (self.levels - 1) - 1, self.num_components, 1 / (self.levels - 1))
        raw = unbounded_log_scale(ops.log(width * math.sqrt(3) / math.pi))  # A logistic of this standard deviation.
        return ops.concatenate([ops.zeros_like(means), means, ops.broadcast_to(raw, means.shape)], axis=-1)

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        # In units of levels, half a level down: TFP's bin of level x is (x - 1, x].
        a, m, log_s = self._split(params)
        half = (self.levels - 1) / 2
        logistic = tfd.Logistic((m + 1) * half - 0.5, ops.exp(log_s) * half)
        bins = tfd.QuantizedDistribution(logistic, low=0.0, high=self.levels - 1.0)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=a), bins)
