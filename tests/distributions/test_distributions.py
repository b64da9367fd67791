import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts import passes, randomize, sums_to_1
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm import families, networks
from tfdgm.distributions import Autoregressive, Dequantized, Flow, StandardNormal, Wrapped, noise
from tfdgm.distributions.noise import normals, philox, uniforms
from tfdgm.distributions.tempered import tempered
from tfdgm.tasks import density_checks


def made(params_size=2, event_shape=(3,), **kwargs):
    config = {"hidden_units": (12,), "activation": "tanh", "dtype": "float64", **kwargs}
    return randomize(networks.MADE(event_shape, params_size=params_size, **config))


def flow(size=3, **kwargs):
    return Flow(tfdgm.bijectors.MaskedAutoregressive(made(event_shape=(size,), **kwargs)), (size,), dtype=tf.float64)


class TestNoise:
    @pytest.mark.parametrize("draw", [uniforms, normals])
    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    def test_a_row_depends_on_its_seed_alone(self, draw, dtype):
        seeds = np.array([[1, 0], [1, 1], [7, -3], [1, 2]], np.int32)
        together = draw(tf.constant(seeds), (5,), dtype).numpy()
        # The uniform numbers are integers first, so equal; their quantile is vectorized, which may round the last bit otherwise.
        rtol = 0 if draw is uniforms else 1e-6
        for i, seed in enumerate(seeds):
            np.testing.assert_allclose(draw(tf.constant(seed[None]), (5,), dtype)[0], together[i], rtol=rtol, atol=0)
        np.testing.assert_allclose(draw(tf.constant(seeds[::-1].copy()), (5,), dtype), together[::-1], rtol=rtol, atol=0)
        assert len(np.unique(together)) == together.size

    def test_distribution(self):
        seeds = tf.constant([[3, i] for i in range(2000)], tf.int32)
        assert scipy.stats.kstest(uniforms(seeds, (2,), tf.float32).numpy().ravel(), "uniform").pvalue > 0.01
        assert scipy.stats.kstest(normals(seeds, (2,), tf.float32).numpy().ravel(), "norm").pvalue > 0.01

    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    @pytest.mark.parametrize("bits", [0, 2**32 - 1])
    def test_uniforms_stay_within_the_open_interval(self, dtype, bits, monkeypatch):
        # The least and the most that the generator can give; waiting for them would take 2^23 draws and more.
        monkeypatch.setattr(
            noise, "philox", lambda counter, key: [tf.fill(tf.shape(counter[0] + key[0]), tf.constant(bits, tf.uint32))] * 4
        )
        u = uniforms(tf.constant([[1, 2]], tf.int32), (2,), dtype).numpy()
        assert (u > 0).all() and (u < 1).all()
        assert np.isfinite(tfdgm.layers.normal_quantile(tf.constant(u))).all()
        assert np.isfinite(normals(tf.constant([[1, 2]], tf.int32), (2,), dtype)).all()

    # The known answers that the authors publish with Random123 (kat_vectors, philox4x32 with 10 rounds).
    @pytest.mark.parametrize(
        ("counter", "key", "answer"),
        [
            ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
            ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
            (
                [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
                [0xA4093822, 0x299F31D0],
                [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
            ),
        ],
    )
    def test_philox_known_answers(self, counter, key, answer):
        result = philox([tf.constant(c, tf.uint32) for c in counter], [tf.constant(k, tf.uint32) for k in key])
        assert [int(word) for word in result] == answer

    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    def test_stacked_seeds_in_a_graph(self, dtype):
        # TensorFlow's graph optimizer turns stack(...)[:, i, None] into the stacked tensor, without the new axis.
        def draw(first, second):
            return uniforms(tf.stack([first, second], axis=1), (30,), dtype)

        rows = tf.range(5), tf.range(5) + 7
        np.testing.assert_array_equal(tf.function(draw)(*rows), draw(*rows))

    @pytest.mark.parametrize("draw", [uniforms, normals])
    def test_xla_draws_the_same(self, draw):
        seeds = tf.constant([[1, i] for i in range(20)], tf.int32)
        compiled = tf.function(lambda s: draw(s, (3,), tf.float32), jit_compile=True)(seeds)
        np.testing.assert_allclose(compiled, draw(seeds, (3,), tf.float32), rtol=1e-5, atol=1e-6)


class TestStandardNormal:
    def test_against_tfp(self):
        x = np.random.default_rng(0).normal(size=(4, 2, 3))
        ours = StandardNormal((2, 3), dtype=tf.float64)
        theirs = tfd.Independent(tfd.Normal(tf.zeros((2, 3), tf.float64), 1.0), 2)
        np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-12)


class TestAutoregressive:
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
        distribution.adapt(tf.constant(x.astype("int32")))
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


class TestFlow:
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


def own_noise(distribution, x):
    """The noise that a row is scored with."""
    return distribution.scoring_noise(distribution.seeds_of(x))


class TestConditionNobodyTakes:
    @pytest.mark.parametrize(
        "distribution",
        [
            StandardNormal((3,), dtype=tf.float64),
            Autoregressive(made(), families.Normal()),
            flow(),
            Dequantized(flow(), 4),
            Wrapped(tfd.Independent(tfd.Normal(tf.zeros(3, tf.float64), 1.0), 1)),
        ],
        ids=lambda distribution: type(distribution).__name__,
    )
    def test_is_an_error(self, distribution):
        x, c = tf.zeros((2, 3), distribution.dtype), tf.zeros((2, 1), tf.float64)
        seeds = tf.constant([[1, 0], [1, 1]], tf.int32)
        noise = distribution.draw_noise(seeds)
        calls = {
            "log_prob": lambda: distribution.log_prob(x, condition=c),
            "traced": lambda: tf.function(distribution.log_prob)(x, condition=c),
            "prob": lambda: distribution.prob(x, condition=c),
            "log_prob_of_rows": lambda: distribution.log_prob_of_rows(x, c),
            "sample": lambda: distribution.sample(2, seed=1, condition=c),
            "from_noise": lambda: distribution.from_noise(noise, c),
            "adapt": lambda: distribution.adapt(x, c),
        }
        if hasattr(distribution, "to_base"):
            calls["to_base"] = lambda: distribution.to_base(x, c)
            calls["from_base"] = lambda: distribution.from_base(noise, c)
        if isinstance(distribution, Autoregressive):
            calls["log_prob_of_positions"] = lambda: distribution.log_prob_of_positions(x, c)
            calls["complete"] = lambda: distribution.complete_from_noise(noise, x, x, c)
        for name, call in calls.items():
            with pytest.raises(ValueError, match=r"takes no `condition` \(condition_shape=None\). Received: one"):
                call()
                pytest.fail(name)


class TestDequantized:
    def make(self, size=1, levels=4):
        sigmoid = tfdgm.bijectors.ScaledSigmoid(levels, dtype=tf.float64)
        chain = tfdgm.bijectors.Chain(
            [sigmoid, tfdgm.bijectors.MaskedAutoregressive(made(event_shape=(size,)))], dtype=tf.float64
        )
        return Dequantized(Flow(chain, (size,), dtype=tf.float64), levels)

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


class TestWrapped:
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
            tfd.LKJ(3, 1.5),
            tfd.CholeskyLKJ(3, 1.5),
            tfd.Gamma(2.0, 3.0),
            tfd.Dirichlet([0.5, 1.0, 2.0]),
            tfd.Multinomial(5.0, probs=[0.2, 0.3, 0.5]),
            tfd.MultivariateNormalTriL(tf.zeros(2), tf.constant([[1.0, 0], [0.5, 2]])),
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
