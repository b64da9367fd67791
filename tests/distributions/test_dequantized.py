import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from contracts.distribution import DistributionContract, flow, made

import tfdgm
from tfdgm import families
from tfdgm.distributions import Autoregressive, Dequantized, Flow, noise


def own_noise(distribution, x):
    """The noise that a row is scored with."""
    return distribution.scoring_noise(distribution.seeds_of(x))


class TestDequantized(DistributionContract):
    def make_unconditional(self):
        return Dequantized(flow(), 4)

    def make(self, size=1, levels=4):
        sigmoid = tfdgm.bijectors.ScaledSigmoid(levels, dtype=tf.float64)
        chain = tfdgm.bijectors.Chain(
            [sigmoid, tfdgm.bijectors.MaskedAutoregressive(made(event_shape=(size,)))], dtype=tf.float64
        )
        return Dequantized(Flow(chain, (size,), dtype=tf.float64), levels)

    def test_what_it_is_made_of(self):
        density = flow(base=Autoregressive(made(event_shape=(3,)), families.Normal()))
        distribution = Dequantized(density, 4)
        assert distribution.density is density and density.density is density
        assert distribution.source is density.source is density.base and density.base.source is density.base
        assert distribution.networks == density.networks == [density.base.network, density.bijector.network]
        kinds = distribution, density, density.base
        assert [d.is_autoregressive for d in kinds] == [False, False, True]
        assert density.base.noise_law == "uniform" and not density.base.is_standard_normal

    def test_log_prob_is_a_lower_bound_of_the_integral(self):
        distribution = self.make()
        u = (np.arange(20000) + 0.5) / 20000
        for x in range(4):
            rows = np.full((len(u), 1), x, np.int32)
            scores = distribution.log_prob_of_rows(rows, noise=tf.constant(u[:, None])).numpy()
            exact, bound = np.log(np.mean(np.exp(scores))), scores.mean()
            assert bound < exact
            # What log_prob gives is one of those draws, that of the row's own noise.
            own = float(own_noise(distribution, rows[:1])[0, 0])
            np.testing.assert_allclose(distribution.log_prob(rows[0]), np.interp(own, u, scores), rtol=1e-4)
            drawn = np.random.default_rng(x).uniform(size=(4000, 1))
            estimate = distribution.log_prob_of_rows(rows[:4000], noise=tf.constant(drawn)).numpy()
            error = estimate.std() / np.sqrt(4000)
            assert abs(estimate.mean() - bound) < 4 * error
            assert estimate.mean() <= exact + 4 * error

    def test_noise_is_uniform_and_a_function_of_the_row_alone(self):
        distribution = self.make(size=3, levels=256)
        x = np.random.default_rng(0).integers(0, 256, (3000, 3)).astype(np.int32)
        u = own_noise(distribution, x).numpy()
        assert ((u >= 0) & (u < 1)).all()
        assert scipy.stats.kstest(u.ravel(), "uniform").pvalue > 0.01
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert abs(np.corrcoef(u[:, i], u[:, j])[0, 1]) < 0.06
        # Neighbouring rows share nothing.
        near = own_noise(distribution, x + np.array([0, 0, 1], np.int32)).numpy()
        assert abs(np.corrcoef(u.ravel(), near.ravel())[0, 1]) < 0.06
        np.testing.assert_array_equal(own_noise(distribution, x[::-1].copy()), u[::-1])
        np.testing.assert_array_equal(own_noise(distribution, x[7:8]), u[7:8])
        np.testing.assert_array_equal(tf.function(lambda x: own_noise(distribution, x), jit_compile=True)(x), u)

    def test_noise_of_seeds_of_places_is_another_for_every_place_and_stream(self):
        distribution = self.make(size=3)
        seeds = [noise.seeds_of_places(first, 1000, stream) for first, stream in ((0, 0), (0, 0), (1000, 0), (0, -1))]
        one, again, later, other = (distribution.scoring_noise(s).numpy() for s in seeds)
        np.testing.assert_array_equal(one, again)
        assert len(np.unique(np.concatenate([one, later, other]))) == 9000
        assert scipy.stats.kstest(one.ravel(), "uniform").pvalue > 0.01

    def test_noise_of_rows_of_few_levels_is_uniform(self):
        # All 4^6 events of six dimensions with four levels.
        distribution = self.make(size=6, levels=4)
        x = np.stack(np.meshgrid(*[np.arange(4)] * 6), axis=-1).reshape(-1, 6).astype(np.int32)
        u = own_noise(distribution, x).numpy()
        for d in range(6):
            assert scipy.stats.kstest(u[:, d], "uniform").pvalue > 0.001

    def test_samples_are_the_floor_of_the_density(self):
        distribution = self.make(size=2)
        noise = distribution.draw_noise(tf.constant([[1, i] for i in range(500)], tf.int32))
        real = distribution.density.from_noise(noise).numpy()
        x = distribution.from_noise(noise).numpy()
        np.testing.assert_array_equal(x, np.clip(np.floor(real), 0, 3))
        assert x.dtype == np.int32 and set(np.unique(x)) <= {0, 1, 2, 3}

    def test_says_what_it_is(self):
        assert self.make().kind == "estimate" and self.make().is_bound
        assert flow().kind == "exact" and not flow().is_bound

    @pytest.mark.slow
    def test_several_samples_tend_to_the_exact_probability(self):
        # P(x) of a density within [0, L): the integral over [x, x + 1), here on a fine grid.
        distribution, u = self.make(), (np.arange(20000) + 0.5) / 20000
        x = np.arange(4)[:, None]
        exact = [
            np.log(np.mean(np.exp(distribution.log_prob_of_rows(np.full((20000, 1), k), noise=u[:, None])))) for k in range(4)
        ]
        single = distribution.log_prob(x)
        np.testing.assert_array_equal(distribution.log_prob(x, num_samples=1), single)
        many = distribution.log_prob(x, num_samples=600).numpy()
        assert np.abs(many - exact).max() < 0.01 < np.abs(single - exact).min()
        # The first draw is the row's own; the others are log-mean-exp of fresh ones.
        seeds = distribution.seeds_of_draws(tf.constant(x, tf.int32), 3)
        np.testing.assert_array_equal(seeds[:, 0], distribution.seeds_of(tf.constant(x, tf.int32)))
        draws = [distribution.log_prob_of_seeds(x, seeds[:, k]).numpy() for k in range(3)]
        np.testing.assert_allclose(distribution.log_prob(x, num_samples=3), scipy.special.logsumexp(draws, axis=0) - np.log(3))

    def test_adapt_does_not_see_the_noise_of_scores(self):
        # EM with a component for each of nine cells would put spikes on the very points that are scored.
        model = tfdgm.models.GaussianMixture((2,), levels=3, num_components=9)
        x = np.random.default_rng(0).integers(0, 3, (2000, 2))
        model.adapt(x)
        entropy = 2 * np.log(3)
        assert -entropy - 0.5 < np.mean(model.lower_bound(x)) < -entropy + 0.02
        assert np.mean(model.log_prob(x)) < -entropy + 0.5

    def test_levels_beyond_the_dtype_are_refused(self):
        with pytest.raises(ValueError, match=r"float32 has no room for noise.*dtype='float64'.*Received: levels=16777216"):
            tfdgm.models.MAF((1,), levels=2**24, num_layers=1, hidden_units=(2,))
        tfdgm.models.MAF((1,), levels=2**24, num_layers=1, hidden_units=(2,), dtype="float64")
