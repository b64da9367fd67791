import numpy as np
import scipy.stats
import tensorflow as tf
from contracts.family import FamilyContract, params_of


class RealFamilyContract(FamilyContract):
    """Tests of each of the `families`, over the reals, that a subclass lists."""

    values = (0.0, 1e-6, -1e6, 1e6)
    #: Of the integral over a grid.
    mass_tolerance = 1e-8

    def events(self, family, shape):
        return np.random.default_rng(1).normal(size=shape) * 3

    def test_integrates_to_1(self, family):
        params = params_of(family, (5, 1))
        x = np.linspace(-60, 60, 200_001)
        density = np.exp(family.log_prob(params, tf.constant(x[None, :])))
        np.testing.assert_allclose(density.sum(axis=1) * (x[1] - x[0]), 1, rtol=self.mass_tolerance)

    def test_samples_follow_the_distribution(self, family):
        # Kolmogorov-Smirnov against TFP's cumulative distribution, on 4000 fixed uniforms.
        params = params_of(family, (1,))
        u = np.random.default_rng(2).uniform(size=(4000, family.uniforms_size))
        x = family.sample(tf.repeat(params, 4000, axis=0), tf.constant(u)).numpy()
        result = scipy.stats.kstest(x, lambda value: family.distribution(params).cdf(tf.constant(value)).numpy())
        assert result.pvalue > 0.01
