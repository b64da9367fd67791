import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from contracts.checks import passes
from contracts.distribution import DistributionContract, flow, made
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm import networks
from tfdgm.distributions import Flow
from tfdgm.tasks import density_checks


class TestFlow(DistributionContract):
    def make_unconditional(self):
        return flow()

    def test_equals_stock_transformed_distribution(self):
        ours = flow()
        theirs = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64)), ours.bijector)
        x = np.random.default_rng(0).normal(size=(2, 5, 3))
        np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-12)
        assert ours.log_prob(x[0, 0]).shape == ()

    @pytest.mark.parametrize("size", [1, 2])
    def test_total_mass(self, size):
        density = flow(size)
        samples = density.sample(2000, seed=1).numpy()
        passes(density_checks.total_mass("mass", tf.function(density.log_prob_of_rows), samples, 1e-3))

    def test_the_mass_check_does_see_a_wrong_density(self):
        density = flow(1)
        samples = density.sample(2000, seed=1).numpy()
        check = density_checks.total_mass("mass", lambda x: density.log_prob_of_rows(x) + 0.01, samples, 1e-3)
        assert check.passed is False

    @pytest.mark.slow
    def test_over_an_image_and_with_another_base(self):
        base = tfd.Independent(tfd.StudentT(tf.constant(5.0, tf.float64), tf.zeros((2, 3), tf.float64), 1.0), 2)
        bijector = tfdgm.bijectors.MaskedAutoregressive(made(event_shape=(6,)))
        density = Flow(bijector, (2, 3), base=base, dtype=tf.float64)
        x = np.random.default_rng(0).normal(size=(4, 2, 3))
        z, log_det = bijector.inverse_and_log_det(tf.constant(x.reshape(4, 6)))
        np.testing.assert_allclose(density.log_prob(x), base.log_prob(np.reshape(z, (4, 2, 3))) + log_det, rtol=1e-12)
        assert density.sample(5, seed=1).shape == (5, 2, 3)

    def test_the_network_runs_once_a_score(self, monkeypatch):
        density, calls = flow(), []
        call = networks.MADE.call
        monkeypatch.setattr(networks.MADE, "call", lambda self, *a, **k: calls.append(1) or call(self, *a, **k))
        density.log_prob(np.zeros((2, 3)))
        assert len(calls) == 1

    def test_samples_follow_log_prob(self):
        density = flow(1)
        x = density.sample(3000, seed=4).numpy()[:, 0]
        grid = np.linspace(-30, 30, 60001)
        cdf = np.cumsum(np.exp(density.log_prob(grid[:, None]))) * 1e-3
        assert scipy.stats.kstest(x, lambda value: np.interp(value, grid, cdf)).pvalue > 0.01

    def test_condition_is_needed_and_broadcast(self):
        network = made(condition_shape=(2,))
        density = Flow(tfdgm.bijectors.MaskedAutoregressive(network), (3,), condition_shape=(2,), dtype=tf.float64)
        x = np.random.default_rng(0).normal(size=(4, 3))
        with pytest.raises(ValueError, match=r"flow needs a `condition` \(condition_shape=\(2,\)\). Received: None"):
            density.log_prob(x)
        one = density.log_prob(x, condition=np.array([1.0, 2.0]))
        each = density.log_prob(x, condition=np.tile([1.0, 2.0], (4, 1)))
        np.testing.assert_allclose(one, each, rtol=1e-13)
        assert (np.abs(one - density.log_prob(x, condition=np.zeros(2))) > 1e-6).all()
        assert density.sample(4, seed=1, condition=np.zeros(2)).shape == (4, 3)

    def test_stock_elementwise_bijector(self):
        # event_ndims 0 in TFP: its log-det must be summed over the vector.
        density = Flow(tfb.Scale(tf.constant(2.0, tf.float64)), (3,), dtype=tf.float64)
        x = np.random.default_rng(0).normal(size=(4, 3))
        expected = tfd.MultivariateNormalDiag(tf.zeros(3, tf.float64), 2 * tf.ones(3, tf.float64)).log_prob(x)
        np.testing.assert_allclose(density.log_prob(x), expected, rtol=1e-12)
