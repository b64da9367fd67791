import numpy as np
import tensorflow as tf
from contracts.discrete_family import DiscreteFamilyContract
from contracts.family import params_of


class FamilyOfLevelsContract(DiscreteFamilyContract):
    """Tests of each of the `families` in which every level's probability is free: training starts at the frequencies, and samples
    are the inverse of the cumulative distribution."""

    def test_marginal_params_are_those_of_the_frequencies(self, family):
        x = np.random.default_rng(0).integers(0, family.levels, (5000, 2, 3)) * np.array([[0, 1, 1], [1, 1, 1]])
        params = family.marginal_params(tf.constant(x, tf.float64))
        assert params.shape == (2, 3, family.params_size)
        for level in range(family.levels):
            p = np.exp(family.log_prob(tf.cast(params, tf.float64), tf.fill((2, 3), tf.cast(level, tf.float64))))
            np.testing.assert_allclose(p, (x == level).mean(axis=0), atol=2e-3)  # Never quite 0 or 1.
            assert (p > 0).all()

    def test_sample_is_the_inverse_of_the_cumulative_distribution(self, family):
        params = params_of(family, (1,))
        u = np.linspace(0.0005, 0.9995, 1000)
        x = family.sample(tf.repeat(params, 1000, axis=0), tf.constant(u[:, None])).numpy()
        assert set(np.unique(x)) <= set(range(family.levels))
        expected = np.exp(family.log_probs(params))[0]
        np.testing.assert_allclose([np.mean(x == k) for k in range(family.levels)], expected, atol=1e-3)
