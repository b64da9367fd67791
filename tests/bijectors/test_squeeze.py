import itertools

import numpy as np
import pytest
import tensorflow as tf
from contracts.as_vector import AsVector
from contracts.bijector import BijectorContract

from tfdgm.bijectors import (
    Squeeze,
)


class TestSqueeze(BijectorContract):
    has_weights = False

    def make(self, dtype):
        return AsVector(Squeeze(dtype=tf.as_dtype(dtype)), (2, 2, 1), (1, 1, 4))

    def test_formula(self):
        x = np.arange(24.0).reshape(1, 2, 4, 3)
        z, log_det = Squeeze().inverse_and_log_det(tf.constant(x))
        assert z.shape == (1, 1, 2, 12) and log_det.shape == (1,)
        for j, c, a, b in itertools.product(range(2), range(3), range(2), range(2)):
            assert z[0, 0, j, 4 * c + 2 * a + b] == x[0, a, 2 * j + b, c]

    def test_shapes(self):
        bijector = Squeeze()
        assert bijector.latent_shape((32, 16, 3)) == (16, 8, 12) and bijector.data_shape((16, 8, 12)) == (32, 16, 3)
        assert bijector.inverse_event_shape([4, 4, 1]) == (2, 2, 4) and bijector.forward_event_shape([2, 2, 4]) == (4, 4, 1)
        for shape, said in (((3, 2, 1), "even height and width"), ((4, 4), "3 axes or more")):
            with pytest.raises(ValueError, match=said):
                bijector.latent_shape(shape)
