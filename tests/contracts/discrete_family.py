import numpy as np
import pytest
import tensorflow as tf
from contracts.family import FamilyContract, params_of


class DiscreteFamilyContract(FamilyContract):
    """Tests of each of the `families`, over integers, that a subclass lists."""

    #: Of the sum of all probabilities in float64.
    sum_tolerance = 1e-12

    def events(self, family, shape):
        return np.random.default_rng(1).integers(0, family.levels, shape)

    def test_sums_to_1(self, family):
        params = params_of(family, (7,), scale=5)
        total = sum(np.exp(family.log_prob(params, tf.fill((7,), tf.cast(x, tf.float64)))) for x in range(family.levels))
        np.testing.assert_allclose(total, 1, rtol=self.sum_tolerance)

    def test_log_probs_are_those_of_all_levels(self, family):
        params = params_of(family, (2, 3), scale=3)
        stock, levels = family.distribution(params), range(family.levels)
        expected = np.stack([stock.log_prob(tf.fill((2, 3), tf.cast(k, stock.dtype))) for k in levels], axis=-1)
        np.testing.assert_allclose(family.log_probs(params), expected, rtol=self.tolerance)

    def test_minus_infinity_outside_the_levels(self, family):
        x = tf.constant([-1.0, family.levels, 0.5, -np.inf, 1e30, np.nan, 1.0], tf.float64)
        log_prob = family.log_prob(params_of(family, (7,)), x).numpy()
        assert (log_prob[:-1] == -np.inf).all() and np.isfinite(log_prob[-1])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_extreme_uniforms_and_parameters_stay_within_the_levels(self, family, dtype):
        u = tf.constant([[value] * family.uniforms_size for value in (2.0**-25, 0.5, 1 - 2.0**-24)], dtype)
        for scale in (1.0, 1e6):
            for sign in (1, -1):
                params = sign * tf.repeat(params_of(family, (1,), scale, dtype), 3, axis=0)
                x = family.sample(params, u).numpy()
                assert ((x >= 0) & (x < family.levels) & (x == np.round(x))).all()
