import numpy as np
import tensorflow as tf
from contracts.as_vector import AsVector, PerPixel
from contracts.bijector import BijectorContract
from contracts.weights import randomize

from tfdgm.bijectors import (
    Coupling,
)
from tfdgm.elementwise import Affine
from tfdgm.networks import DenseNetwork


class TestCoupling(BijectorContract):
    size = 5

    def make(self, dtype):
        return randomize(
            Coupling(DenseNetwork(2, 6, hidden_units=(16,), activation="tanh", dtype=dtype), Affine(), np.arange(5) < 2)
        )

    def test_formula_by_hand(self):
        network = DenseNetwork(1, 2, hidden_units=(1,), dtype="float64")
        for weight, value in zip(network.weights, ([[2.0]], [0.5], [[3.0, -1.0]], [0.1, 0.2]), strict=True):
            weight.assign(value)
        x, log_det = Coupling(network, Affine(), np.array([True, False])).forward_and_log_det(
            tf.constant([[1.0, 4.0]], tf.float64)
        )
        h = 2.5
        r = -h + 0.2
        a = r / (1 + abs(r) / 7)
        np.testing.assert_allclose(x[0], [1.0, 4.0 * np.exp(a) + 3 * h + 0.1], rtol=1e-13)
        np.testing.assert_allclose(log_det[0], a, rtol=1e-13)


class TestCouplingWithCondition(BijectorContract):
    size = 4
    condition_shape = (3,)

    def make(self, dtype):
        network = DenseNetwork(2, 4, hidden_units=(16, 16), residual=True, activation="tanh", condition_shape=(3,), dtype=dtype)
        return randomize(Coupling(network, Affine(), np.array([False, True, False, True]), condition_shape=(3,)))


class TestCouplingOfImages(BijectorContract):
    """A checkerboard over [2, 2, 1]: the network sees the image with zeros where it is False."""

    def make(self, dtype):
        mask = np.array([[True, False], [False, True]])[..., None]
        coupling = Coupling(PerPixel(dtype=dtype), Affine(), mask)
        randomize(coupling)
        return AsVector(coupling, (2, 2, 1), (2, 2, 1))
