import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfdgm.families import Bernoulli, Categorical, DiscretizedLogisticMixture, MixtureOfNormals, Normal

BY_LEVEL = [Bernoulli(), Categorical(2), Categorical(5)]
DISCRETE = [*BY_LEVEL, DiscretizedLogisticMixture(2, 1), DiscretizedLogisticMixture(5, 3)]
REAL = [Normal(), MixtureOfNormals(1), MixtureOfNormals(3)]


def name(family):
    return f"{type(family).__name__}{family.params_size}"


every_family = pytest.mark.parametrize("family", [*DISCRETE, *REAL], ids=name)
every_discrete = pytest.mark.parametrize("family", DISCRETE, ids=name)
by_level = pytest.mark.parametrize("family", BY_LEVEL, ids=name)
every_real = pytest.mark.parametrize("family", REAL, ids=name)


def params_of(family, shape, scale=1.0, dtype="float64"):
    return tf.constant(np.random.default_rng(0).normal(size=(*shape, family.params_size)) * scale, dtype)


def events_of(family, shape):
    random = np.random.default_rng(1)
    x = random.integers(0, family.levels, shape) if family.levels else random.normal(size=shape) * 3
    return tf.constant(x.astype("float64"))


class TestLogProb:
    @every_family
    def test_agrees_with_tfp(self, family):
        params, x = params_of(family, (4, 6), scale=3), events_of(family, (4, 6))
        distribution = family.distribution(params)
        assert distribution.batch_shape == (4, 6) and distribution.event_shape == ()
        np.testing.assert_allclose(family.log_prob(params, x), distribution.log_prob(tf.cast(x, distribution.dtype)), rtol=1e-10)

    @every_discrete
    def test_sums_to_1(self, family):
        params = params_of(family, (7,), scale=5)
        total = sum(np.exp(family.log_prob(params, tf.fill((7,), tf.cast(x, tf.float64)))) for x in range(family.levels))
        np.testing.assert_allclose(total, 1, rtol=1e-12)

    @every_discrete
    def test_log_probs_are_those_of_all_levels(self, family):
        params = params_of(family, (2, 3), scale=3)
        stock, levels = family.distribution(params), range(family.levels)
        expected = np.stack([stock.log_prob(tf.fill((2, 3), tf.cast(k, stock.dtype))) for k in levels], axis=-1)
        np.testing.assert_allclose(family.log_probs(params), expected, rtol=1e-10)

    @every_real
    def test_integrates_to_1(self, family):
        params = params_of(family, (5, 1), scale=1.0)
        x = np.linspace(-60, 60, 200_001)
        density = np.exp(family.log_prob(params, tf.constant(x[None, :])))
        np.testing.assert_allclose(density.sum(axis=1) * (x[1] - x[0]), 1, rtol=1e-8)

    def test_against_scipy(self):
        x = np.array([-1.5, 0.0, 4.0])
        params = tf.constant([[0.3, 1.4]] * 3, tf.float64)
        expected = scipy.stats.norm.logpdf(x, 0.3, np.exp(1.4 / (1 + 1.4 / 7)))
        np.testing.assert_allclose(Normal().log_prob(params, tf.constant(x)), expected, rtol=1e-12)
        logits = np.array([0.5, -1.0, 2.0])
        expected = np.log(np.exp(logits) / np.exp(logits).sum())
        ours = Categorical(3).log_prob(tf.constant([logits] * 3), tf.constant([0.0, 1, 2], tf.float64))
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
        np.testing.assert_allclose(
            np.exp(Bernoulli().log_prob(tf.constant([[0.7]]), tf.constant([1.0]))), [1 / (1 + np.exp(-0.7))]
        )

    @every_discrete
    def test_minus_infinity_outside_the_levels(self, family):
        x = tf.constant([-1.0, family.levels, 0.5, -np.inf, 1e30, np.nan, 1.0], tf.float64)
        log_prob = family.log_prob(params_of(family, (7,)), x).numpy()
        assert (log_prob[:-1] == -np.inf).all() and np.isfinite(log_prob[-1])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("infinity", [np.inf, -np.inf])
    def test_infinite_logits(self, infinity, dtype):
        def scores(family, params):
            params = tf.constant(np.repeat([params], family.levels, axis=0), dtype)
            return family.log_prob(params, tf.range(family.levels, dtype=dtype)).numpy()

        np.testing.assert_array_equal(scores(Bernoulli(), [infinity]), [-np.inf, 0] if infinity > 0 else [0, -np.inf])
        expected = [-np.inf, 0, -np.inf] if infinity > 0 else [np.log(0.5), -np.inf, np.log(0.5)]
        np.testing.assert_allclose(scores(Categorical(3), [0, infinity, 0]), expected, rtol=1e-6)
        np.testing.assert_allclose(scores(Categorical(3), [np.inf, 5, np.inf]), [np.log(0.5), -np.inf, np.log(0.5)], rtol=1e-6)
        # A mixture whose weight is all on one component, or all but on one.
        one = [0.3, -0.2]
        for family in (DiscretizedLogisticMixture, lambda levels, k: MixtureOfNormals(k)):
            two = [[0, infinity], [one[0], 0.9], [one[1], 0.4]] if infinity < 0 else [[infinity, 0], [one[0], 0.9], [one[1], 0.4]]
            x = tf.range(3, dtype=dtype)
            mixed = family(3, 2).log_prob(tf.constant(np.repeat([np.ravel(two)], 3, axis=0), dtype), x)
            single = family(3, 1).log_prob(tf.constant(np.repeat([[0, *one]], 3, axis=0), dtype), x)
            np.testing.assert_allclose(mixed, single, rtol=1e-6)
        u = tf.constant(np.random.default_rng(0).uniform(size=(100, 1)), dtype)
        drawn = Categorical(3).sample(tf.constant(np.repeat([[0, infinity, 0]], 100, axis=0), dtype), u).numpy()
        assert set(drawn) == ({1.0} if infinity > 0 else {0.0, 2.0})

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @every_family
    def test_finite_with_finite_gradients_at_extreme_parameters(self, family, dtype):
        extremes = [-1e6, -100.0, 0.0, 100.0, 1e6]
        rows = list(itertools.product(extremes, repeat=min(3, family.params_size)))
        params = np.array([np.resize(row, family.params_size) for row in rows])
        values = range(family.levels) if family.levels else [0.0, 1e-6, -1e6, 1e6]
        for value in values:
            params_t, x = tf.constant(params, dtype), tf.fill((len(params),), tf.cast(value, dtype))
            with tf.GradientTape() as tape:
                tape.watch([params_t, x])
                log_prob = family.log_prob(params_t, x)
            gradients = tape.gradient(log_prob, [params_t, x])
            assert np.isfinite(log_prob).all()
            assert np.isfinite(gradients[0]).all()
            assert gradients[1] is None or np.isfinite(gradients[1]).all()


class TestMarginalParams:
    @by_level
    def test_are_those_of_the_frequencies(self, family):
        x = np.random.default_rng(0).integers(0, family.levels, (5000, 2, 3)) * np.array([[0, 1, 1], [1, 1, 1]])
        params = family.marginal_params(tf.constant(x, tf.float64))
        assert params.shape == (2, 3, family.params_size)
        for level in range(family.levels):
            p = np.exp(family.log_prob(tf.cast(params, tf.float64), tf.fill((2, 3), tf.cast(level, tf.float64))))
            np.testing.assert_allclose(p, (x == level).mean(axis=0), atol=2e-3)  # Never quite 0 or 1.
            assert (p > 0).all()

    def test_none_for_a_normal(self):
        assert Normal().marginal_params(tf.zeros((3, 2))) is None

    @pytest.mark.parametrize("k", [1, 2, 10])
    def test_components_of_normals_are_at_the_quantiles(self, k):
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

    @pytest.mark.parametrize("family", [MixtureOfNormals(5), DiscretizedLogisticMixture(16, 5)], ids=name)
    def test_components_start_apart(self, family):
        constant = np.zeros((50, 2))
        half = np.random.default_rng(0).integers(0, 2, (50, 2)).astype("float64")
        for params in (family.initial_params(), *(family.marginal_params(tf.constant(x)) for x in (constant, half, half[:1]))):
            means = np.sort(np.asarray(params).reshape(-1, 3, 5)[:, 1], axis=-1)
            assert (np.diff(means, axis=-1) > 1e-3).all()
            assert np.isfinite(params).all()

    def test_logistics_are_at_the_quantiles_of_the_levels(self):
        x = np.random.default_rng(0).integers(40, 200, (4000, 2))
        family = DiscretizedLogisticMixture(256, 4)
        params = tf.cast(family.marginal_params(tf.constant(x, tf.float64)), tf.float64)
        means = (params[:, 4:8].numpy() + 1) * 127.5
        np.testing.assert_allclose(means, np.repeat([[60, 100, 140, 180]], 2, axis=0), atol=8)
        # The entropy of 160 equal levels is a bound on the mean; one wide logistic around the middle reaches -5.55.
        assert -np.log(160) - 0.25 < family.log_prob(params, tf.constant(x, tf.float64)).numpy().mean() < -np.log(160)


class TestSample:
    @by_level
    def test_is_the_inverse_of_the_cumulative_distribution(self, family):
        params = params_of(family, (1,), scale=1.0)
        u = np.linspace(0.0005, 0.9995, 1000)
        x = family.sample(tf.repeat(params, 1000, axis=0), tf.constant(u[:, None])).numpy()
        assert set(np.unique(x)) <= set(range(family.levels))
        expected = np.array(
            [np.exp(family.log_prob(params, tf.constant([float(k)], tf.float64)))[0] for k in range(family.levels)]
        )
        np.testing.assert_allclose([np.mean(x == k) for k in range(family.levels)], expected, atol=1e-3)

    @every_discrete
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_extreme_uniforms_and_parameters_stay_within_the_levels(self, family, dtype):
        u = tf.constant(
            [[2.0**-25] * family.uniforms_size, [0.5] * family.uniforms_size, [1 - 2.0**-24] * family.uniforms_size], dtype
        )
        for scale in (1.0, 1e6):
            for sign in (1, -1):
                params = sign * tf.repeat(params_of(family, (1,), scale, dtype), 3, axis=0)
                x = family.sample(params, u).numpy()
                assert ((x >= 0) & (x < family.levels) & (x == np.round(x))).all()

    @every_real
    def test_follows_the_distribution(self, family):
        # Kolmogorov-Smirnov against TFP's cumulative distribution, on 4000 fixed uniforms.
        params = params_of(family, (1,))
        u = np.random.default_rng(2).uniform(size=(4000, family.uniforms_size))
        x = family.sample(tf.repeat(params, 4000, axis=0), tf.constant(u)).numpy()
        result = scipy.stats.kstest(x, lambda value: family.distribution(params).cdf(tf.constant(value)).numpy())
        assert result.pvalue > 0.01

    def test_normal_is_its_quantile(self):
        u = np.array([[1e-7], [0.2], [0.5], [0.999]])
        x = Normal().sample(tf.constant([[1.0, 0.5]] * 4, tf.float64), tf.constant(u))
        expected = scipy.stats.norm.ppf(u[:, 0], 1.0, np.exp(0.5 / (1 + 0.5 / 7)))
        np.testing.assert_allclose(x, expected, rtol=1e-9)

    def test_mixture_takes_its_component_from_the_first_uniform(self):
        params = tf.constant([[0.0, np.log(3.0), -10.0, 10.0, -4.0, -4.0]] * 3, tf.float64)  # Weights 1/4 and 3/4.
        x = MixtureOfNormals(2).sample(params, tf.constant([[0.24, 0.5], [0.26, 0.5], [0.9, 0.5]], tf.float64))
        np.testing.assert_allclose(x, [-10, 10, 10], atol=1e-9)

    @every_family
    def test_finite_at_extreme_parameters(self, family):
        u = tf.constant(np.random.default_rng(0).uniform(size=(50, family.uniforms_size)), tf.float32)
        x = family.sample(params_of(family, (50,), scale=1e6, dtype="float32"), u)
        assert np.isfinite(x).all()
        assert x.dtype == tf.float32
