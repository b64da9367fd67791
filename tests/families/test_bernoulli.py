import numpy as np
import pytest
import tensorflow as tf
from contracts.family_of_levels import FamilyOfLevelsContract

from tfdgm.families import Bernoulli


class TestBernoulli(FamilyOfLevelsContract):
    families = [Bernoulli()]

    def test_formula(self):
        p = np.exp(Bernoulli().log_prob(tf.constant([[0.7]]), tf.constant([1.0])))
        np.testing.assert_allclose(p, [1 / (1 + np.exp(-0.7))])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("infinity", [np.inf, -np.inf])
    def test_infinite_logits(self, infinity, dtype):
        scores = Bernoulli().log_prob(tf.constant([[infinity], [infinity]], dtype), tf.range(2, dtype=dtype))
        np.testing.assert_array_equal(scores, [-np.inf, 0] if infinity > 0 else [0, -np.inf])
