import numpy as np
import pytest
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.weights import randomize
from tensorflow_probability import bijectors as tfb

from tfdgm.bijectors import (
    ActNorm,
    Chain,
    Invert,
    MaskedAutoregressive,
    Permute,
)
from tfdgm.networks import MADE


class TestInvert(BijectorContract):
    # x is here the side from which the network reads, so a large x is scaled up by as much as exp(7) and comes back less exact.
    data_values = (0.0, 1e-6, -1e-6, 1.0, 6.0, -6.0)

    def make(self, dtype):
        network = MADE((self.size,), params_size=2, hidden_units=(16,), activation="tanh", dtype=dtype)
        return randomize(Invert(MaskedAutoregressive(network)))

    def test_exchanges_the_directions(self):
        bijector, x = self.make("float64"), tf.constant(self.ordinary_x("float64"))
        np.testing.assert_array_equal(bijector.inverse(x), bijector.bijector.forward(x))
        np.testing.assert_array_equal(bijector.forward(x), bijector.bijector.inverse(x))

    def test_of_a_stock_bijector(self):
        x = tf.constant(self.ordinary_x("float64"))
        z, log_det = Invert(tfb.ScaleMatvecTriL(tf.eye(4, dtype=tf.float64) * 2)).inverse_and_log_det(x)
        np.testing.assert_allclose(z, 2 * x)
        np.testing.assert_allclose(log_det, np.full(len(x), 4 * np.log(2)))


def standardizing(name):
    """A bijector over 4 dimensions that holds ActNorms, one of them seen from its other side."""
    act_norm, rotate = (lambda: ActNorm(4, dtype="float64")), Permute([1, 2, 3, 0])
    return {
        "inverted": lambda: Invert(act_norm()),
        "inverted twice": lambda: Invert(Invert(act_norm())),
        "inverted chain": lambda: Invert(Chain([act_norm(), rotate, tfb.Scale(tf.constant(3.0, tf.float64))])),
        "inverted inside a chain": lambda: Chain([rotate, tfb.Exp(), Invert(act_norm())]),
        "inverted chain with one inverted": lambda: Invert(Chain([Invert(act_norm()), tfb.Exp(), act_norm()])),
    }[name]()


class TestAdapt:
    @pytest.mark.parametrize(
        "name",
        ["inverted", "inverted twice", "inverted chain", "inverted inside a chain", "inverted chain with one inverted"],
    )
    def test_z_has_mean_0_and_variance_1(self, name):
        x = tf.exp(tf.constant(np.random.default_rng(0).normal(size=(200, 4)))) + 2
        bijector = standardizing(name)
        bijector.adapt(x)
        z = bijector.inverse(x).numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)
