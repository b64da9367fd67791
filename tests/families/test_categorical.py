import numpy as np
import pytest
import tensorflow as tf
from contracts.family_of_levels import FamilyOfLevelsContract

from tfdgm.families import Categorical


class TestCategorical(FamilyOfLevelsContract):
    families = [Categorical(2), Categorical(5)]

    def test_formula(self):
        logits = np.array([0.5, -1.0, 2.0])
        expected = np.log(np.exp(logits) / np.exp(logits).sum())
        ours = Categorical(3).log_prob(tf.constant([logits] * 3), tf.constant([0.0, 1, 2], tf.float64))
        np.testing.assert_allclose(ours, expected, rtol=1e-12)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("infinity", [np.inf, -np.inf])
    def test_infinite_logits(self, infinity, dtype):
        def scores(params):
            return Categorical(3).log_prob(tf.constant([params] * 3, dtype), tf.range(3, dtype=dtype)).numpy()

        expected = [-np.inf, 0, -np.inf] if infinity > 0 else [np.log(0.5), -np.inf, np.log(0.5)]
        np.testing.assert_allclose(scores([0, infinity, 0]), expected, rtol=1e-6)
        np.testing.assert_allclose(scores([np.inf, 5, np.inf]), [np.log(0.5), -np.inf, np.log(0.5)], rtol=1e-6)
        u = tf.constant(np.random.default_rng(0).uniform(size=(100, 1)), dtype)
        drawn = Categorical(3).sample(tf.constant(np.repeat([[0, infinity, 0]], 100, axis=0), dtype), u).numpy()
        assert set(drawn) == ({1.0} if infinity > 0 else {0.0, 2.0})
