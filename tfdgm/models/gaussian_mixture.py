import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfp_util

from tfdgm.distributions import Wrapped
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import flow_over


class GaussianMixture(DensityModel):
    """p(x) = sum_k w_k N(x; m_k, S_k), full covariances: the honest baseline.

    `fit` begins with scikit-learn's EM on the training data and goes on by gradient steps; `adapt(x)` alone is EM alone. Under
    TFP's distributions, so sampling and scoring cost K Gaussians.

    Args:
      event_shape: shape of one event; D is its size, and the model has K (1 + D + D (D + 1) / 2) parameters.
      num_components: K.
      levels, standardize, seed: as in MAF; `seed` also starts EM.
    """

    def __init__(self, event_shape, *, num_components=10, levels=None, standardize=True, seed=0, dtype=None, name=None):
        super().__init__(dtype=dtype, name=name)
        mixture = _Mixture(event_shape, num_components, tf.as_dtype(self.compute_dtype), seed)
        self._set_distribution(flow_over([], event_shape, levels, standardize, None, self.dtype_policy, base=mixture), seed)


class _Mixture(Wrapped):
    def __init__(self, event_shape, num_components, dtype, seed):
        size = int(tf.TensorShape(event_shape).num_elements())
        self.seed = seed
        self.logits = tf.Variable(tf.zeros(num_components, dtype), name="logits")
        # Distinct means, or all components would move as one.
        start = tf.random.stateless_normal((num_components, size), (seed, 0), dtype=dtype)
        self.means = tf.Variable(start, name="means")
        scale = tf.eye(size, batch_shape=[num_components], dtype=dtype)
        self.scale_tril = tfp_util.TransformedVariable(scale, tfb.FillScaleTriL(diag_shift=tf.cast(1e-4, dtype)))
        mixture = tfd.MixtureSameFamily(
            tfd.Categorical(logits=self.logits), tfd.MultivariateNormalTriL(self.means, self.scale_tril)
        )
        event = tfd.TransformedDistribution(mixture, tfb.Reshape(tuple(event_shape), event_shape_in=(size,)))
        super().__init__(event, name="gaussian_mixture")

    def adapt(self, x, condition=None):
        import sklearn.mixture

        x = tf.reshape(x, (-1, self.event_size)).numpy().astype("float64")
        count = min(self.logits.shape[0], len(x))
        em = sklearn.mixture.GaussianMixture(count, reg_covar=1e-4, random_state=self.seed).fit(x)
        pad = self.logits.shape[0] - count
        self.logits.assign(tf.pad(tf.cast(tf.math.log(em.weights_), self.dtype), [[0, pad]], constant_values=-20.0))
        self.means.assign(tf.pad(tf.cast(em.means_, self.dtype), [[0, pad], [0, 0]]))
        scale = tf.linalg.cholesky(em.covariances_)
        scale = tf.concat([scale, tf.eye(self.event_size, batch_shape=[pad], dtype=scale.dtype)], axis=0)
        self.scale_tril.assign(tf.cast(scale, self.dtype))
