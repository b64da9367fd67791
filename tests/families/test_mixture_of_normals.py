import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.mixture_family import MixtureFamilyContract
from contracts.real_family import RealFamilyContract

from tfdgm.families import MixtureOfNormals


class TestMixtureOfNormals(RealFamilyContract, MixtureFamilyContract):
    families = [MixtureOfNormals(1), MixtureOfNormals(3)]
    mixture = MixtureOfNormals

    @pytest.mark.parametrize("k", [1, 2, 10])
    def test_components_start_at_the_quantiles(self, k):
        x = np.random.default_rng(0).normal(size=(4000, 2)) * [1, 5] + [0, 30]
        params = MixtureOfNormals(k).marginal_params(tf.constant(x)).numpy()
        levels = (np.arange(k) + 0.5) / k
        np.testing.assert_allclose(params[:, :k], 0)
        spread = scipy.stats.norm.ppf(levels) * k**-0.2 * 0.1 * x.std(axis=0)[:, None]
        np.testing.assert_allclose(params[:, k : 2 * k], np.quantile(x, levels, axis=0).T + spread, rtol=1e-6, atol=1e-6)
        scales = MixtureOfNormals(k).distribution(tf.constant(params)).components_distribution.scale
        np.testing.assert_allclose(scales, np.repeat(x.std(axis=0)[:, None] * k**-0.2, k, axis=1), rtol=1e-6)
        # No worse than one normal, already.
        ours = MixtureOfNormals(k).log_prob(tf.constant(params), tf.constant(x)).numpy().mean(axis=0)
        assert (ours > scipy.stats.norm.logpdf(x, x.mean(axis=0), x.std(axis=0)).mean(axis=0) - 0.25).all()

    def test_component_from_the_first_uniform(self):
        params = tf.constant([[0.0, np.log(3.0), -10.0, 10.0, -4.0, -4.0]] * 3, tf.float64)  # Weights 1/4 and 3/4.
        x = MixtureOfNormals(2).sample(params, tf.constant([[0.24, 0.5], [0.26, 0.5], [0.9, 0.5]], tf.float64))
        np.testing.assert_allclose(x, [-10, 10, 10], atol=1e-9)
