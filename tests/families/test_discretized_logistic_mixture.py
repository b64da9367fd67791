import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.discrete_family import DiscreteFamilyContract
from contracts.family import params_of
from contracts.mixture_family import MixtureFamilyContract

from tfdgm.families import DiscretizedLogisticMixture


class TestDiscretizedLogisticMixture(DiscreteFamilyContract, MixtureFamilyContract):
    families = [DiscretizedLogisticMixture(2, 1), DiscretizedLogisticMixture(5, 3)]

    @staticmethod
    def mixture(k):
        return DiscretizedLogisticMixture(16, k)

    def test_components_start_at_the_quantiles_of_the_levels(self):
        x = np.random.default_rng(0).integers(40, 200, (4000, 2))
        family = DiscretizedLogisticMixture(256, 4)
        params = tf.cast(family.marginal_params(tf.constant(x, tf.float64)), tf.float64)
        means = (params[:, 4:8].numpy() + 1) * 127.5
        np.testing.assert_allclose(means, np.repeat([[60, 100, 140, 180]], 2, axis=0), atol=8)
        # The entropy of 160 equal levels is a bound on the mean; one wide logistic around the middle reaches -5.55.
        assert -np.log(160) - 0.25 < family.log_prob(params, tf.constant(x, tf.float64)).numpy().mean() < -np.log(160)


def probabilities(family, params):
    """P of every level, [n, levels]."""
    x = tf.range(family.levels, dtype=params.dtype)
    return np.exp(family.log_prob(params[:, None], tf.repeat(x[None], len(params), axis=0)))


class TestLogProb:
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
    @pytest.mark.parametrize("scale", [1.0, 5.0, 100.0])
    def test_256_levels_sum_to_1(self, dtype, tolerance, scale):
        family = DiscretizedLogisticMixture(256, 5)
        p = probabilities(family, params_of(family, (50,), scale, dtype))
        np.testing.assert_allclose(p.sum(axis=1, dtype="float64"), 1, rtol=tolerance)

    def test_is_the_logistic_s_mass_of_each_bin(self):
        # One component, mean at level 100.3 and scale of 4 levels, against SciPy.
        family = DiscretizedLogisticMixture(256, 1)
        log_s = np.log(4 / 127.5)
        r = log_s / (1 - np.abs(log_s) / 7)  # The inverse of bounded_log_scale.
        p = probabilities(family, tf.constant([[0.7, 100.3 / 127.5 - 1, r]], tf.float64))[0]
        edges = np.concatenate([[-np.inf], np.arange(255) + 0.5, [np.inf]])
        logistic = scipy.stats.logistic(100.3, 4)
        # Above the mean from the upper tail, where the difference of two numbers near 1 would lose digits.
        expected = np.where(np.arange(256) < 100, np.diff(logistic.cdf(edges)), -np.diff(logistic.sf(edges)))
        np.testing.assert_allclose(p, expected, rtol=1e-10)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_no_nan_in_gradients_at_any_level(self, dtype):
        family = DiscretizedLogisticMixture(256, 2)
        extremes = [-1e6, -100.0, -1.0, 0.0, 1.0, 100.0, 1e6]
        params = np.array([np.repeat(row, 2) for row in itertools.product(extremes, repeat=3)])
        for level in (0, 1, 128, 254, 255):
            inputs = tf.constant(params, dtype), tf.fill((len(params),), tf.cast(level, dtype))
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                log_prob = family.log_prob(*inputs)
            for value in (log_prob, *tape.gradient(log_prob, inputs)):
                assert np.isfinite(value).all(), level

    def test_gradients_point_towards_the_data(self):
        # A mean far from the level still moves, where PixelCNN++'s first formula would have 0 / 0.
        family = DiscretizedLogisticMixture(256, 1)
        params = tf.constant([[0.0, -50.0, -3.0]] * 3)
        with tf.GradientTape() as tape:
            tape.watch(params)
            log_prob = family.log_prob(params, tf.constant([1.0, 100.0, 255.0]))
        assert (tape.gradient(log_prob, params)[:, 1].numpy() > 1).all()


class TestSample:
    def test_follows_the_probabilities(self):
        # Chi-squared of 20,000 draws over 16 levels.
        family = DiscretizedLogisticMixture(16, 3)
        params = params_of(family, (1,))
        u = np.random.default_rng(1).uniform(size=(20_000, family.uniforms_size))
        x = family.sample(tf.repeat(params, len(u), axis=0), tf.constant(u)).numpy()
        counts = np.bincount(x.astype(int), minlength=16)
        assert scipy.stats.chisquare(counts, probabilities(family, params)[0] * len(u)).pvalue > 0.01

    def test_component_from_the_first_uniform_and_level_from_the_second(self):
        # Weights 1/4 and 3/4; means at levels 51 and 204, scales far below one level.
        params = tf.constant([[0.0, np.log(3.0), -0.6, 0.6, -50.0, -50.0]] * 3, tf.float64)
        family = DiscretizedLogisticMixture(256, 2)
        x = family.sample(params, tf.constant([[0.24, 0.5], [0.26, 0.5], [0.9, 0.5]], tf.float64))
        np.testing.assert_array_equal(x, [51, 204, 204])


@pytest.mark.parametrize("name,value,expected", [("levels", 1, "2 or more"), ("num_components", 0, "1 or more")])
def test_bad_arguments(name, value, expected):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer, {expected}. Received: {name}={value}"):
        DiscretizedLogisticMixture(**{name: value})
