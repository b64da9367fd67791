import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from contracts.checks import sums_to_1
from contracts.distribution import DistributionContract, made
from contracts.weights import randomize
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.distributions.tempered import tempered


class TestAutoregressive(DistributionContract):
    def make_unconditional(self):
        return Autoregressive(made(), families.Normal())

    @pytest.mark.parametrize("levels", [2, 3])
    def test_sums_to_1_over_all_events(self, levels):
        family = families.Bernoulli() if levels == 2 else families.Categorical(levels)
        distribution = Autoregressive(made(family.params_size, (2, 3), input_order="random"), family)
        log_prob = distribution.log_prob_of_rows
        sums_to_1(log_prob, (2, 3), levels, 1e-10)

    def test_log_prob_is_the_sum_of_conditionals(self):
        # By hand, from the network's parameters and TFP's Categorical.
        family = families.Categorical(4)
        distribution = Autoregressive(made(4, levels=4), family)
        x = np.array([[0, 3, 1], [2, 2, 2]])
        params = distribution.network(tf.constant(x))
        expected = tf.reduce_sum(tfd.Categorical(logits=params).log_prob(x), axis=-1)
        np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-12)

    def test_samples_follow_log_prob(self):
        # Chi-squared over all 16 events.
        distribution = Autoregressive(made(1, (4,)), families.Bernoulli())
        x = distribution.sample(4000, seed=3).numpy()
        counts = np.bincount(x @ [8, 4, 2, 1], minlength=16)
        events = np.array([[i >> 3 & 1, i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(16)])
        assert scipy.stats.chisquare(counts, 4000 * np.exp(distribution.log_prob(events))).pvalue > 0.01

    def test_real_mixture_samples_follow_log_prob(self):
        distribution = Autoregressive(made(9, (1,)), families.MixtureOfNormals(3))
        x = np.sort(distribution.sample(3000, seed=3).numpy()[:, 0])
        grid = np.linspace(-30, 30, 60001)
        cdf = np.cumsum(np.exp(distribution.log_prob(grid[:, None]))) * 1e-3
        assert scipy.stats.kstest(x, lambda value: np.interp(value, grid, cdf)).pvalue > 0.01

    def test_completion_keeps_what_is_known(self):
        distribution = Autoregressive(made(4, (2, 3)), families.Categorical(4))
        seeds = tf.constant([[1, i] for i in range(20)], tf.int32)
        noise = distribution.draw_noise(seeds)
        x = tf.constant(np.random.default_rng(0).integers(0, 4, (20, 2, 3)), tf.int32)
        known = np.zeros((20, 2, 3), np.int32)
        known[:, 0, 1] = known[:, 1, 2] = 1
        completed = distribution.complete_from_noise(noise, x, tf.constant(known)).numpy()
        np.testing.assert_array_equal(completed[known == 1], x.numpy()[known == 1])
        assert (completed[known == 0] != x.numpy()[known == 0]).any()
        # With nothing known it is the sample.
        nothing = distribution.complete_from_noise(noise, x, tf.zeros_like(x))
        np.testing.assert_array_equal(nothing, distribution.from_noise(noise))

    def test_completion_after_known_positions_is_exact(self):
        # The first position known: the rest follows p(x_2, x_3 | x_1), by enumeration.
        distribution = Autoregressive(made(1), families.Bernoulli())
        n = 4000
        noise = distribution.draw_noise(tf.constant([[5, i] for i in range(n)], tf.int32))
        x = tf.constant(np.tile([[1, 0, 0]], (n, 1)), tf.int32)
        known = tf.constant(np.tile([[1, 0, 0]], (n, 1)), tf.int32)
        completed = distribution.complete_from_noise(noise, x, known).numpy()
        events = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
        p = np.exp(distribution.log_prob(events))
        counts = np.bincount(completed[:, 1:] @ [2, 1], minlength=4)
        assert scipy.stats.chisquare(counts, n * p / p.sum()).pvalue > 0.01

    def test_adapt_starts_at_the_marginals(self):
        distribution = Autoregressive(
            networks.MADE((3,), hidden_units=(4,), input_order=(2, 0, 1), dtype="float64"), families.Bernoulli()
        )
        x = np.random.default_rng(0).uniform(size=(4000, 3)) < [0.1, 0.5, 0.9]
        distribution.network.out.kernel.assign(tf.zeros_like(distribution.network.out.kernel))
        distribution.adapt_to_rows(tf.constant(x.astype("int32")))
        p = np.exp(distribution.log_prob(np.ones((1, 3), "int32")))
        np.testing.assert_allclose(p, np.prod(x.mean(axis=0)), rtol=1e-6)

    def test_network_and_family_must_fit(self):
        with pytest.raises(ValueError, match=r"family's 1 parameters a position. Received: network.params_size=2"):
            Autoregressive(made(2), families.Bernoulli())


class TestEnd:
    """Through a model: words of up to four symbols 0..2, which 2 ends."""

    words = np.array([[0, 1, 2, 2], [0, 0, 1, 2], [1, 1, 1, 1], [2, 2, 2, 2]] * 4)

    def make(self):
        network = networks.MADE((4,), params_size=3, levels=3, hidden_units=(12,))
        distribution = Autoregressive.of_new(randomize(network), families.Categorical(3), end=2)
        return tfdgm.DensityModel.from_distribution(distribution)

    def test_sums_to_1_and_samples_are_words(self):
        model = self.make()
        sums_to_1(model.log_prob, (4,), 3, 1e-5)
        assert model.log_prob(np.array([0, 2, 1, 2])) == -np.inf
        x = model.sample(500, seed=1).numpy()
        assert x.dtype == np.int32 and np.isfinite(model.log_prob(x)).all() and (x[:, -1] == 2).mean() > 0.1

    def test_a_sample_comes_with_its_score(self):
        model = self.make()
        noise = model.distribution.draw_noise(tf.constant([[1, i] for i in range(50)], tf.int32))
        x, log_prob = model.distribution.from_noise_and_log_prob(noise)
        np.testing.assert_array_equal(x, model.distribution.from_noise(noise))
        np.testing.assert_allclose(log_prob, model.log_prob(x), rtol=1e-5, atol=1e-6)

    def test_completion_ends_with_the_word(self):
        model = self.make()
        completed = model.complete(np.tile([0, 2, 0, 0], (20, 1)), np.tile([1, 1, 0, 0], (20, 1)), seed=1)
        np.testing.assert_array_equal(completed, np.tile([0, 2, 2, 2], (20, 1)))
        with pytest.warns(UserWarning, match="known positions come after unknown ones"):
            completed = model.complete(np.tile([0, 0, 0, 1], (20, 1)), np.tile([0, 0, 0, 1], (20, 1)), seed=1)
        assert (completed[:, 3] == 1).numpy().all()

    @pytest.mark.slow
    def test_it_learns_and_exports(self, tmp_path):
        model = self.make()
        before = model.log_prob(self.words).numpy().mean()
        model.compile("adam")
        model.fit(self.words, epochs=3, batch_size=8, verbose=0)
        assert model.log_prob(self.words).numpy().mean() > before
        model.export(tmp_path / "1")
        signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
        x = np.concatenate([self.words[:4], [[2, 0, 0, 0]]]).astype("int32")
        served = signatures["log_prob"](x=tf.constant(x))["log_prob"]
        np.testing.assert_allclose(served, [*model.log_prob(x[:4]), -np.inf], rtol=1e-5)
        seeds = tf.constant([[1, i] for i in range(20)], tf.int32)
        np.testing.assert_array_equal(signatures["sample"](seed=seeds)["x"], model.sample(20, seed=1))
        known = np.tile([1, 0, 0, 0], (20, 1))
        x = np.zeros((20, 4), np.int32)
        served = signatures["complete"](x=tf.constant(x), known=tf.constant(known, tf.int32), seed=seeds)["x"]
        np.testing.assert_array_equal(served, model.complete(x, known, seed=1))

    @pytest.mark.slow
    def test_its_report_passes(self):
        report = tfdgm.verify(self.make(), artifact=False)
        assert report.passed, str(report)

    def test_at_a_temperature(self):
        cold = tempered(self.make().distribution, 0.5)
        x = cold.from_noise(cold.draw_noise(tf.constant([[1, i] for i in range(50)], tf.int32)))
        assert np.isfinite(cold.log_prob_of_rows(x)).all()
        sums_to_1(cold.log_prob_of_rows, (4,), 3, 1e-5)
