from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.families.family import Family
from tfdgm.families.log_weights import log_weights
from tfdgm.layers import inverse_cdf


class Categorical(Family):
    """x in 0..L-1: log p(x) = a_x - log sum_k exp(a_k), params = [a_0 ... a_(L-1)], the logits.

    Args:
      levels: L.
    """

    def __init__(self, levels):
        check_whole(2, levels=levels)
        self.params_size = self.levels = levels

    def log_prob(self, params, x, position=None):
        is_x = ops.equal(x[..., None], ops.arange(self.levels, dtype=x.dtype))
        return self._on_levels(ops.sum(ops.where(is_x, log_weights(params), 0), axis=-1), x)

    def log_probs(self, params, position=None):
        return log_weights(params)

    def sample(self, params, uniforms, position=None):
        return ops.cast(inverse_cdf(ops.exp(log_weights(params)), uniforms[..., 0]), params.dtype)

    def marginal_params(self, x):
        counts = ops.stack([ops.sum(ops.cast(ops.equal(x, level), "float32"), axis=0) for level in range(self.levels)], axis=-1)
        return ops.log((counts + 1) / (ops.sum(counts, axis=-1, keepdims=True) + self.levels))

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Categorical(logits=params)
