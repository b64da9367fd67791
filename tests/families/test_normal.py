import numpy as np
import scipy.stats
import tensorflow as tf
from contracts.real_family import RealFamilyContract

from tfdgm.families import Normal


class TestNormal(RealFamilyContract):
    families = [Normal()]

    def test_formula(self):
        x = np.array([-1.5, 0.0, 4.0])
        params = tf.constant([[0.3, 1.4]] * 3, tf.float64)
        expected = scipy.stats.norm.logpdf(x, 0.3, np.exp(1.4 / (1 + 1.4 / 7)))
        np.testing.assert_allclose(Normal().log_prob(params, tf.constant(x)), expected, rtol=1e-12)

    def test_sample_is_its_quantile(self):
        u = np.array([[1e-7], [0.2], [0.5], [0.999]])
        x = Normal().sample(tf.constant([[1.0, 0.5]] * 4, tf.float64), tf.constant(u))
        expected = scipy.stats.norm.ppf(u[:, 0], 1.0, np.exp(0.5 / (1 + 0.5 / 7)))
        np.testing.assert_allclose(x, expected, rtol=1e-9)

    def test_starts_where_the_network_does(self):
        assert Normal().marginal_params(tf.zeros((3, 2))) is None
