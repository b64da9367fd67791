import numpy as np
import pytest
import tensorflow as tf
from contracts.bijector import BijectorContract

from tfdgm.bijectors import (
    Permute,
)


class TestPermute(BijectorContract):
    has_weights = False

    def make(self, dtype):
        return Permute([2, 0, 3, 1], dtype=tf.as_dtype(dtype))

    def test_formula(self):
        x = Permute([2, 0, 1]).forward(tf.constant([10.0, 11.0, 12.0]))
        np.testing.assert_array_equal(x, [12.0, 10.0, 11.0])

    def test_not_a_permutation(self):
        with pytest.raises(ValueError, match="each of 0"):
            Permute([0, 0, 2])
