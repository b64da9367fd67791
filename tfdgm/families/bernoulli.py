from keras import ops

from tfdgm.families.family import Family


class Bernoulli(Family):
    """x in {0, 1}: log p(x) = x log sigmoid(a) + (1 - x) log sigmoid(-a), params = [a], the logit."""

    params_size = 1
    levels = 2

    def log_prob(self, params, x, position=None):
        a = params[..., 0]
        return self._on_levels(ops.log_sigmoid(ops.where(x > 0.5, a, -a)), x)

    def sample(self, params, uniforms, position=None):
        return ops.cast(uniforms[..., 0] < ops.sigmoid(params[..., 0]), params.dtype)

    def marginal_params(self, x):
        p = ops.clip(ops.mean(x, axis=0), 1e-3, 1 - 1e-3)
        return ops.log(p / (1 - p))[..., None]

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Bernoulli(logits=params[..., 0], dtype=params.dtype)
