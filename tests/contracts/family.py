import itertools

import numpy as np
import pytest
import tensorflow as tf


def params_of(family, shape, scale=1.0, dtype="float64"):
    """Random parameters [*shape, params_size]."""
    return tf.constant(np.random.default_rng(0).normal(size=(*shape, family.params_size)) * scale, dtype)


class FamilyContract:
    """Tests of each of the `families` that a subclass lists. Subclass `DiscreteFamilyContract` or `RealFamilyContract`."""

    families = ()
    #: Relative, of log_prob in float64 against TFP's.
    tolerance = 1e-10
    #: What log_prob is tried at under extreme parameters.
    values = ()

    def pytest_generate_tests(self, metafunc):
        if "family" in metafunc.fixturenames:
            metafunc.parametrize("family", self.families, ids=lambda family: f"{type(family).__name__}{family.params_size}")

    def events(self, family, shape):
        raise NotImplementedError

    def test_log_prob_agrees_with_tfp(self, family):
        params, x = params_of(family, (4, 6), scale=3), tf.constant(self.events(family, (4, 6)), tf.float64)
        distribution = family.distribution(params)
        assert distribution.batch_shape == (4, 6) and distribution.event_shape == ()
        expected = distribution.log_prob(tf.cast(x, distribution.dtype))
        np.testing.assert_allclose(family.log_prob(params, x), expected, rtol=self.tolerance)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_finite_with_finite_gradients_at_extreme_parameters(self, family, dtype):
        extremes = [-1e6, -100.0, 0.0, 100.0, 1e6]
        rows = list(itertools.product(extremes, repeat=min(3, family.params_size)))
        params = np.array([np.resize(row, family.params_size) for row in rows])
        for value in self.values or range(family.levels):
            params_t, x = tf.constant(params, dtype), tf.fill((len(params),), tf.cast(value, dtype))
            with tf.GradientTape() as tape:
                tape.watch([params_t, x])
                log_prob = family.log_prob(params_t, x)
            gradients = tape.gradient(log_prob, [params_t, x])
            assert np.isfinite(log_prob).all()
            assert np.isfinite(gradients[0]).all()
            assert gradients[1] is None or np.isfinite(gradients[1]).all()

    def test_samples_are_finite_at_extreme_parameters(self, family):
        u = tf.constant(np.random.default_rng(0).uniform(size=(50, family.uniforms_size)), tf.float32)
        x = family.sample(params_of(family, (50,), scale=1e6, dtype="float32"), u)
        assert np.isfinite(x).all()
        assert x.dtype == tf.float32
