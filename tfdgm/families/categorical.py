from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.families.family import Family


class Categorical(Family):
    """x in 0..L-1: log p(x) = a_x - log sum_k exp(a_k), params = [a_0 ... a_(L-1)], the logits.

    Args:
      levels: L.
    """

    def __init__(self, levels):
        check_whole(2, levels=levels)
        self.params_size = self.levels = levels

    def log_prob(self, params, x):
        one_hot = ops.one_hot(ops.cast(x, "int32"), self.levels, dtype=params.dtype)
        return ops.sum(one_hot * ops.log_softmax(params, axis=-1), axis=-1)

    def sample(self, params, uniforms):
        # The inverse of the cumulative distribution; the last edge is left out, so rounding cannot give L.
        edges = ops.cumsum(ops.softmax(params, axis=-1), axis=-1)[..., :-1]
        return ops.sum(ops.cast(uniforms >= edges, params.dtype), axis=-1)

    def marginal_params(self, x):
        counts = ops.stack([ops.sum(ops.cast(ops.equal(x, level), "float32"), axis=0) for level in range(self.levels)], axis=-1)
        return ops.log((counts + 1) / (ops.sum(counts, axis=-1, keepdims=True) + self.levels))

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Categorical(logits=params)
