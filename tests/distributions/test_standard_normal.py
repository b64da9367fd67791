import numpy as np
import tensorflow as tf
from contracts.distribution import DistributionContract
from tensorflow_probability import distributions as tfd

from tfdgm.distributions import StandardNormal


class TestStandardNormal(DistributionContract):
    def make_unconditional(self):
        return StandardNormal((3,), dtype=tf.float64)

    def test_against_tfp(self):
        x = np.random.default_rng(0).normal(size=(4, 2, 3))
        ours = StandardNormal((2, 3), dtype=tf.float64)
        theirs = tfd.Independent(tfd.Normal(tf.zeros((2, 3), tf.float64), 1.0), 2)
        np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-12)
