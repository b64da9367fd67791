import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import util as tfp_util

from tfdgm.arguments import check_whole
from tfdgm.distributions import Distribution
from tfdgm.distributions.noise import uniforms
from tfdgm.event import Event
from tfdgm.layers import inverse_cdf
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import flow_over


class GaussianMixture(DensityModel):
    """A mixture of Gaussians with full covariances: the honest baseline.

        p(x) = sum_k w_k N(x; m_k, S_k)

    `fit` begins with scikit-learn's EM on the training data and goes on by gradient steps; `adapt(x)` alone is EM alone.
    Sampling and scoring cost K Gaussians.

    Shapes: x [*batch, *event_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: shape of one event; D is its size, and the model has K (1 + D + D (D + 1) / 2) parameters.
      num_components: K.
      levels: L for integer data 0..L-1, which is dequantized uniformly and carried to the real line; log_prob is then an
        estimate, whose mean is a lower bound. Of a table, one for each column: (None, 100, 2), with None for real ones.
      standardize: subtracts the training data's mean and divides by its standard deviation, inside the model: `log_prob`
        stays that of the data as given.
      seed: of EM's start and the training noise.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for `num_components` below 1.
      ValueError: from `log_prob` and `fit` for x of another shape, and for numbers that are not finite or no levels.

    Source: Bishop, Pattern Recognition and Machine Learning, 2006, eq. 9.7. EM adds 1e-4 to each variance, so that none is zero.

    Example:

        >>> x = np.random.default_rng(0).normal(size=(8, 3))
        >>> model = tfdgm.models.GaussianMixture((3,), num_components=2)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 3]))
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_components: int = 10,
        levels: int | Sequence[int | None] | None = None,
        standardize: bool = True,
        seed: int = 0,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
    ):
        super().__init__(dtype=dtype, name=name)
        mixture = _Mixture(event_shape, num_components, tf.as_dtype(self.compute_dtype), seed)
        self._set_distribution(flow_over([], event_shape, levels, standardize, None, self.dtype_policy, base=mixture), seed)


class _Mixture(Distribution):
    """log p(x) = log sum_k w_k exp(-|z_k|^2 / 2) / ((2 pi)^(D / 2) |L_k|), z_k = L_k^-1 (x - m_k), S_k = L_k L_k^T."""

    def __init__(self, event_shape, num_components, dtype, seed):
        super().__init__(Event(event_shape), dtype=dtype, is_reparameterized=False, name="gaussian_mixture")
        check_whole(num_components=num_components)
        size = self.event_size
        self.seed = seed
        self.logits = tf.Variable(tf.zeros(num_components, dtype), name="logits")
        # Distinct means, or all components would move as one.
        start = tf.random.stateless_normal((num_components, size), (seed, 0), dtype=dtype)
        self.means = tf.Variable(start, name="means")
        scale = tf.eye(size, batch_shape=[num_components], dtype=dtype)
        self.scale_tril = tfp_util.TransformedVariable(scale, tfb.FillScaleTriL(diag_shift=tf.cast(1e-4, dtype)))

    def copy(self, **overrides):
        raise NotImplementedError("A mixture makes its own weights: a copy would have others. Make another model, and `restore`.")

    def _log_prob_of_rows(self, x, condition, noise, known):
        scale = tf.convert_to_tensor(self.scale_tril)
        x = tf.transpose(tf.reshape(x, (-1, self.event_size)))
        # One triangular system a component, with a column for each row of x; TFP solves one for each row.
        z = tf.linalg.triangular_solve(scale, x - self.means[:, :, None])
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(scale)), axis=-1) + 0.5 * self.event_size * math.log(2 * math.pi)
        log_n = -0.5 * tf.reduce_sum(tf.square(z), axis=1) - log_det[:, None]
        return tf.reduce_logsumexp(tf.nn.log_softmax(self.logits)[:, None] + log_n, axis=0)

    def draw_noise(self, seeds):
        return uniforms(seeds, (1 + self.event_size,), self.dtype)

    def _from_noise(self, noise, condition):
        component = inverse_cdf(tf.nn.softmax(self.logits), noise[:, 0])
        chosen = tf.transpose(tf.one_hot(component, self.logits.shape[0], dtype=self.dtype))
        z = tf.math.ndtri(noise[:, 1:])[None]
        of_each = self.means[:, None] + tf.matmul(z, tf.convert_to_tensor(self.scale_tril), transpose_b=True)
        return tf.reshape(tf.reduce_sum(chosen[:, :, None] * of_each, axis=0), (-1, *self.event.shape))

    def _adapt(self, x, condition):
        import sklearn.mixture

        x = tf.reshape(x, (-1, self.event_size)).numpy().astype("float64")
        num_components = self.logits.shape[0]
        count = min(num_components, len(x))
        # scikit-learn takes two rows or more.
        rows = np.resize(x, (max(2, len(x)), self.event_size))
        em = sklearn.mixture.GaussianMixture(count, reg_covar=1e-4, random_state=self.seed).fit(rows)
        # Components beyond the number of rows are light ones around those found, no two alike.
        spare = np.arange(num_components) >= count
        which = np.arange(num_components) % count
        away = spare[:, None] * np.random.RandomState(self.seed).normal(size=(num_components, self.event_size))
        self.logits.assign(np.log(em.weights_[which]) - 7.0 * spare)
        self.means.assign(em.means_[which] + away)
        self.scale_tril.assign(tf.cast(tf.linalg.cholesky(em.covariances_[which]), self.dtype))
