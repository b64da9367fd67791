import numpy as np
import pytest
import tensorflow as tf
from contracts.distribution import DistributionContract
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.distributions import Wrapped


class TestWrapped(DistributionContract):
    def make_unconditional(self):
        return Wrapped(tfd.Independent(tfd.Normal(tf.zeros(3, tf.float64), 1.0), 1))

    def test_a_stock_distribution_keeps_its_support_and_its_map(self):
        gamma = Wrapped(tfd.Sample(tfd.Gamma(2.0, 1.0), 3))
        assert gamma.bijector is None and gamma.networks == [] and gamma.noise_law is None
        assert (gamma.experimental_default_event_space_bijector()(tf.constant([-5.0, 0.0, 5.0])) > 0).numpy().all()
        normal = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3)), tfb.Scale(2.0))
        assert Wrapped(normal).bijector is normal.bijector

    def test_of_a_stock_distribution(self):
        stock = tfd.MultivariateNormalDiag(tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0]))
        wrapped = Wrapped(stock)
        x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
        np.testing.assert_allclose(wrapped.log_prob(x), stock.log_prob(x), rtol=1e-6)
        seeds = tf.constant([[1, i] for i in range(1000)], tf.int32)
        noise = wrapped.draw_noise(seeds).numpy()
        np.testing.assert_allclose(noise[5:6], wrapped.draw_noise(seeds[5:6]), rtol=1e-6)
        np.testing.assert_allclose(noise.mean(axis=0), [1, 2], atol=0.4)
        np.testing.assert_allclose(noise.std(axis=0), [3, 4], rtol=0.1)

    @pytest.mark.parametrize(
        "stock",
        [
            pytest.param(tfd.LKJ(3, 1.5), marks=pytest.mark.slow),
            pytest.param(tfd.CholeskyLKJ(3, 1.5), marks=pytest.mark.slow),
            tfd.Gamma(2.0, 3.0),
            pytest.param(tfd.Dirichlet([0.5, 1.0, 2.0]), marks=pytest.mark.slow),
            pytest.param(tfd.Multinomial(5.0, probs=[0.2, 0.3, 0.5]), marks=pytest.mark.slow),
            pytest.param(tfd.MultivariateNormalTriL(tf.zeros(2), tf.constant([[1.0, 0], [0.5, 2]])), marks=pytest.mark.slow),
        ],
        ids=lambda stock: type(stock).__name__,
    )
    def test_rows_are_what_the_distribution_draws_from_their_seeds(self, stock):
        # TensorFlow 2.21 drops the constant of a tf.pad that it vectorizes: LKJ's correlations were all 0.
        wrapped = Wrapped(tfd.Independent(stock, stock.batch_shape.rank))
        seeds = np.array([[3, i] for i in range(6)], np.int32)
        expected = [wrapped.distribution.sample(seed=seed).numpy() for seed in seeds]
        for draw in (wrapped.draw_noise, tf.function(wrapped.draw_noise, autograph=False)):
            np.testing.assert_allclose(draw(tf.constant(seeds)), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("stock", "message"),
        [
            (lambda: tfd.Normal(tf.zeros(3), 1.0), r"batch_shape=\(\).*Independent.*Received: batch_shape=\(3,\)"),
            (
                lambda: tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0)]),
                r"one tensor.*Received: JointDistributionSequential",
            ),
            (
                lambda: tfd.Autoregressive(
                    lambda x: tfd.Independent(tfd.Normal(0 * x, 1.0), 1), sample0=tf.zeros(3), num_steps=3
                ),
                r"batch_shape=\(\).*Received: (batch|event)_shape=",
            ),
        ],
        ids=["batch", "joint", "autoregressive"],
    )
    def test_what_cannot_be_wrapped(self, stock, message):
        for build in (Wrapped, tfdgm.DensityModel.from_distribution):
            with pytest.raises(ValueError, match=message):
                build(stock())
