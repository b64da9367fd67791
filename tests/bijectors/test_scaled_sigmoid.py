import numpy as np
import scipy.special
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.checks import passes

import tfdgm
from tfdgm.bijectors import (
    ScaledSigmoid,
)
from tfdgm.tasks import density_checks


class TestScaledSigmoid(BijectorContract):
    has_weights = False
    data_range = (0.0, 17.0)
    data_values = (0.0, 1e-6, 1e-3, 8.5, 17.0 - 1e-5, 17.0)

    def make(self, dtype):
        return ScaledSigmoid(17, dtype=tf.as_dtype(dtype))

    def test_range(self):
        bijector = ScaledSigmoid(17, alpha=0.05)
        ends = bijector.inverse(tf.constant([0.0, 17.0])).numpy()
        np.testing.assert_allclose(ends, [np.log(0.05 / 0.95), np.log(0.95 / 0.05)], rtol=1e-5)

    def test_outside_the_range_the_density_is_zero_and_gradients_are_finite(self):
        x = tf.constant([[8.0, -1e6], [8.0, -1.0], [18.0, 8.0], [1e6, 8.0], [8.0, 8.0]])
        with tf.GradientTape() as tape:
            tape.watch(x)
            z, log_det = ScaledSigmoid(17).inverse_and_log_det(x)
            total = tf.reduce_sum(z) + tf.reduce_sum(log_det)
        np.testing.assert_array_equal(np.isfinite(log_det), [False, False, False, False, True])
        assert (log_det.numpy()[:4] == -np.inf).all()
        assert np.isfinite(z).all()
        assert np.isfinite(tape.gradient(total, x)).all()

    def test_close_to_the_ends_of_its_range(self):
        z = np.array([[-20.0], [-14.0], [-8.0], [14.0], [20.0]])
        p = scipy.special.expit(z)
        back, log_det = ScaledSigmoid(17, dtype=tf.float64).inverse_and_log_det(17 * (p - 0.05) / 0.9)
        np.testing.assert_allclose(back, z, rtol=1e-7)
        expected = np.log(17 / 0.9) + scipy.special.log_expit(z) + scipy.special.log_expit(-z)
        np.testing.assert_allclose(-log_det, expected[:, 0], rtol=1e-7)

    def test_total_mass_of_a_flow(self):
        flow = tfdgm.distributions.Flow(ScaledSigmoid(4, dtype=tf.float64), (1,), dtype=tf.float64)
        samples = flow.sample(2000, seed=1).numpy()
        passes(density_checks.total_mass("mass", flow.log_prob, samples, 1e-3))
