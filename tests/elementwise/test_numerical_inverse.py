import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from contracts.carried import CarriedContract

from tfdgm.elementwise import Elementwise, numerical_inverse


class Sinh(Elementwise):
    """x = z + e^r sinh(z), whose inverse has no formula; of zeros no identity."""

    params_size = 1

    def forward(self, params, z):
        scale = keras.ops.exp(params[..., 0])
        return z + scale * keras.ops.sinh(z), keras.ops.log1p(scale * keras.ops.cosh(z))

    def inverse(self, params, x):
        return numerical_inverse(lambda z: self.forward(params, z), x)


class TestNumericalInverse(CarriedContract):
    f = Sinh()

    @pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
    @pytest.mark.parametrize("compiled", [False, True])
    def test_within_the_error_it_states(self, dtype, tolerance, compiled):
        x = tf.constant(np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 60), -np.geomspace(1e-6, 1e6, 60)]), dtype)
        params = tf.constant(np.linspace(-6, 6, 121)[:, None], dtype)

        def invert(params, x):
            return Sinh().inverse(params, x)

        z, log_det = (tf.function(invert, jit_compile=True, autograph=False) if compiled else invert)(params, x)
        exact = [float(scipy_root(r, value)) for r, value in zip(params.numpy()[:, 0], x.numpy(), strict=True)]
        np.testing.assert_allclose(z, exact, rtol=tolerance, atol=tolerance)
        expected = -np.log1p(np.exp(np.float64(params[:, 0])) * np.cosh(exact))
        np.testing.assert_allclose(log_det, expected, rtol=10 * tolerance, atol=10 * tolerance)

    @pytest.mark.parametrize("slope", [1e-5, 1.0, 1e5])
    def test_a_kink_and_flat_parts(self, slope):
        # Newton's method alone runs in circles here.
        def forward(z):
            return tf.math.atan(z) * 3 + slope * z, tf.math.log(3 / (1 + z**2) + slope)

        z = np.array([-40.0, -1.0, 0.0, 0.3, 20.0])
        np.testing.assert_allclose(numerical_inverse(forward, forward(tf.constant(z))[0])[0], z, rtol=1e-9, atol=1e-12)

    def test_first_and_second_derivatives_are_those_of_the_implicit_function(self):
        x, r = tf.constant([0.7, -2.0, 30.0], tf.float64), tf.constant([[0.3], [-1.0], [0.5]], tf.float64)

        def first(x, r):
            with tf.GradientTape() as tape:
                tape.watch([x, r])
                z, log_det = Sinh().inverse(r, x)
                total = tf.reduce_sum(z * tf.constant([1.0, 2.0, 3.0], tf.float64)) + tf.reduce_sum(log_det)
            return tape.gradient(total, [x, r])

        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, r])
            of_x, of_r = first(x, r)
        # dz/dx = 1 / (1 + s cosh z), dz/dr = - s sinh z / (1 + s cosh z), s = e^r; log-det = -log(1 + s cosh z).
        s, z, weight = np.exp(r.numpy()[:, 0]), Sinh().inverse(r, x)[0].numpy(), np.array([1.0, 2.0, 3.0])
        slope = 1 + s * np.cosh(z)
        np.testing.assert_allclose(of_x, weight / slope - s * np.sinh(z) / slope**2, rtol=1e-10)
        dz_dr = -s * np.sinh(z) / slope
        of_log_det = -(s * np.cosh(z) + s * np.sinh(z) * dz_dr) / slope
        np.testing.assert_allclose(of_r[:, 0], weight * dz_dr + of_log_det, rtol=1e-10)
        h = 1e-5
        for second, up, down in (
            (tape.gradient(of_x, x), first(x + h, r)[0], first(x - h, r)[0]),
            (tape.gradient(of_r, r), first(x, r + h)[1], first(x, r - h)[1]),
        ):
            np.testing.assert_allclose(second, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)


def scipy_root(r, x):
    return scipy.optimize.brentq(lambda z: z + np.exp(r) * np.sinh(z) - x, -40, 40, xtol=1e-14, rtol=1e-14)
