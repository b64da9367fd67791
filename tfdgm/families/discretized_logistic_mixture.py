from keras import ops

from tfdgm.families.family import Family
from tfdgm.layers import bounded_log_scale


class DiscretizedLogisticMixture(Family):
    """x in 0..L-1: a mixture of logistics, rounded to the levels: PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, eq. 1-2.

        P(x) = sum_k w_k (sigmoid((y + d - m_k) / s_k) - sigmoid((y - d - m_k) / s_k)),  y = 2 x / (L - 1) - 1, d = 1 / (L - 1)

    where level 0 takes all that lies below it (y - d = -infinity) and level L-1 all above, so the P(x) add up to 1.

    params = [a_1..a_K, m_1..m_K, r_1..r_K]: w = softmax(a), log s_k = bounded_log_scale(r_k). The paper cuts log s off at -7, and
    bins of little mass are replaced by the density; here each bin is exact, as sigmoid(u) - sigmoid(v) =
    sigmoid(u) sigmoid(-v) (1 - exp(v - u)). The paper's colours share one component and its means of G and B are linear in R and
    G (eq. 3): that joins three values, and a family knows one. Our networks give each colour its own parameters, which see the
    colours before it.

    Args:
      levels: L, 2 or more.
      num_components: K.
    """

    uniforms_size = 2

    def __init__(self, levels=256, num_components=10):
        if levels < 2 or num_components < 1:
            raise ValueError(
                "Expected 2 `levels` or more, and 1 `num_components` or more. "
                f"Received: levels={levels}, num_components={num_components}"
            )
        self.levels, self.num_components = levels, num_components
        self.params_size = 3 * num_components

    def _split(self, params):
        k = self.num_components
        return params[..., :k], params[..., k : 2 * k], bounded_log_scale(params[..., 2 * k :])

    def log_prob(self, params, x):
        a, m, log_s = self._split(params)
        d = 1 / (self.levels - 1)
        x = x[..., None]
        y = 2 * d * x - 1
        u, v = (y + d - m) * ops.exp(-log_s), (y - d - m) * ops.exp(-log_s)
        below, above = ops.log_sigmoid(u), ops.log_sigmoid(-v)
        # Every branch is finite, with a finite gradient, at every x.
        inside = below + above + ops.log(-ops.expm1(-2 * d * ops.exp(-log_s)))
        log_bin = ops.where(x < 0.5, below, ops.where(x > self.levels - 1.5, above, inside))
        return ops.logsumexp(ops.log_softmax(a, axis=-1) + log_bin, axis=-1)

    def sample(self, params, uniforms):
        a, m, log_s = self._split(params)
        edges = ops.cumsum(ops.softmax(a, axis=-1), axis=-1)[..., :-1]
        component = ops.sum(ops.cast(uniforms[..., :1] >= edges, "int32"), axis=-1)
        chosen = ops.one_hot(component, self.num_components, dtype=params.dtype)
        m, log_s = ops.sum(chosen * m, axis=-1), ops.sum(chosen * log_s, axis=-1)
        logit = ops.log(uniforms[..., 1]) - ops.log1p(-uniforms[..., 1])
        y = m + ops.exp(log_s) * logit
        return ops.clip(ops.round((y + 1) * (self.levels - 1) / 2), 0, self.levels - 1)

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        # In units of levels, half a level down: TFP's bin of level x is (x - 1, x].
        a, m, log_s = self._split(params)
        half = (self.levels - 1) / 2
        logistic = tfd.Logistic((m + 1) * half - 0.5, ops.exp(log_s) * half)
        bins = tfd.QuantizedDistribution(logistic, low=0.0, high=self.levels - 1.0)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=a), bins)
