import numpy as np
import pytest
import tensorflow as tf
from contracts.carried import CARRIERS
from contracts.elementwise import ElementwiseContract
from contracts.weights import randomize

from tfdgm.elementwise import Affine


class TestAffine(ElementwiseContract):
    f = Affine()

    @pytest.mark.parametrize("carrier", CARRIERS)
    def test_samples_stay_finite(self, carrier):
        bijector = randomize(CARRIERS[carrier](self.f), scale=3.0)
        assert np.isfinite(bijector.forward(tf.constant(np.full((2, 4), 1e300)))).all()
