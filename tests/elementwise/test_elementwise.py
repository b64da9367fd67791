"""Elementwise maps, each by itself and in every carrier."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes
from contracts.weights import randomize
from tensorflow_probability import bijectors as tfb

from tfdgm import elementwise
from tfdgm.bijectors import Coupling, MaskedAutoregressive, MaskedAutoregressiveLayers, Parametric
from tfdgm.elementwise import Additive, Affine, Elementwise, RationalQuadraticSpline, numerical_inverse
from tfdgm.networks import MADE, DenseNetwork
from tfdgm.tasks import bijector_checks

pytestmark = pytest.mark.usefixtures("eagerly")


class Sinh(Elementwise):
    """x = z + e^r sinh(z), whose inverse has no formula; of zeros no identity."""

    params_size = 1

    def forward(self, params, z):
        scale = keras.ops.exp(params[..., 0])
        return z + scale * keras.ops.sinh(z), keras.ops.log1p(scale * keras.ops.cosh(z))

    def inverse(self, params, x):
        return numerical_inverse(lambda z: self.forward(params, z), x)


MAPS = {"Additive": Additive(), "Affine": Affine(), "RationalQuadraticSpline": RationalQuadraticSpline(num_bins=5)}
every_map = pytest.mark.parametrize("f", MAPS.values(), ids=MAPS)

# Within the spline, at its ends, and far outside.
VALUES = np.array([0.0, 1e-6, -0.7, 1.3, 2.999999, 3.0, -3.0, 3.0001, -8.0, 1e3, -1e6])


def rows(f, dtype="float64"):
    """(params [8 n, params_size], values [8 n])."""
    values = np.tile(np.concatenate([VALUES, np.linspace(-2.9, 2.9, 9)]), 8)
    params = np.random.default_rng(0).normal(size=(len(values), f.params_size)) * 2
    return tf.constant(params, dtype), tf.constant(values, dtype)


def derivative(function, value):
    with tf.GradientTape() as tape:
        tape.watch(value)
        y = function(value)[0]
    return tape.gradient(y, value).numpy()


class TestMaps:
    def test_every_map_is_tested(self):
        assert set(MAPS) == {n for n in elementwise.__all__ if n[0].isupper() and n != "Elementwise"}

    @every_map
    def test_zero_parameters_are_the_identity(self, f):
        values = tf.constant(VALUES)
        for function in (f.forward, f.inverse):
            moved, log_det = function(tf.zeros((len(VALUES), f.params_size), tf.float64), values)
            np.testing.assert_allclose(moved, values, rtol=1e-13, atol=1e-13)
            np.testing.assert_allclose(log_det, np.zeros(len(VALUES)), atol=1e-13)

    @every_map
    def test_log_det_is_the_logarithm_of_the_derivative(self, f):
        params, values = rows(f)
        for function in (f.forward, f.inverse):
            slope = derivative(lambda v, function=function: function(params, v), values)
            np.testing.assert_allclose(function(params, values)[1], np.log(slope), rtol=1e-8, atol=1e-10)

    @every_map
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
    def test_round_trips(self, f, dtype, tolerance):
        params, values = rows(f, dtype)
        for there, back in ((f.forward, f.inverse), (f.inverse, f.forward)):
            middle, log_det = there(params, values)
            again, opposite = back(params, middle)
            # Where the slope there is small, rounding in the middle grows by its inverse on the way back.
            allowed = tolerance * (1 + np.abs(values)) * np.maximum(1, np.exp(-log_det))
            assert (np.abs(again - values) <= allowed).all()
            np.testing.assert_allclose(opposite, -log_det, atol=1e-2 if dtype == "float32" else 1e-8)

    @every_map
    def test_is_increasing(self, f):
        params = tf.constant(np.repeat(np.random.default_rng(1).normal(size=(1, f.params_size)) * 3, 2001, axis=0))
        values = tf.constant(np.linspace(-4, 4, 2001))
        for function in (f.forward, f.inverse):
            assert (np.diff(function(params, values)[0]) > 0).all()

    @every_map
    def test_gradients_are_finite_and_reach_all_parameters(self, f):
        params, values = rows(f, "float32")
        for function in (f.forward, f.inverse):
            with tf.GradientTape() as tape:
                tape.watch([params, values])
                moved, log_det = function(params, values)
                total = tf.reduce_sum(tf.tanh(moved)) + tf.reduce_sum(log_det)
            of_params, of_values = tape.gradient(total, [params, values], unconnected_gradients="zero")
            assert np.isfinite(of_params).all() and np.isfinite(of_values).all()
            assert (np.abs(of_params).max(axis=0) > 0).all()


class TestCarriers:
    """Every map in every carrier, over four dimensions."""

    CARRIERS = {
        "Coupling": lambda f: Coupling(
            DenseNetwork(2, 2 * f.params_size, hidden_units=(8,), activation="tanh", dtype="float64"),
            f,
            np.array([False, True, True, False]),
        ),
        "MaskedAutoregressive": lambda f: MaskedAutoregressive(made(f), f),
        "MaskedAutoregressiveLayers": lambda f: MaskedAutoregressiveLayers([made(f), made(f, "right-to-left")], f),
        "Parametric": lambda f: Parametric(f, (4,), dtype="float64"),
    }

    @pytest.mark.parametrize("carrier", CARRIERS)
    @pytest.mark.parametrize("f", [*MAPS.values(), Sinh()], ids=[*MAPS, "Sinh"])
    def test_round_trip_and_log_det(self, f, carrier):
        bijector = randomize(self.CARRIERS[carrier](f), scale=0.7)
        x = np.random.default_rng(0).normal(size=(6, 4)) * 1.5
        maps = bijector.inverse_and_log_det, bijector.forward_and_log_det
        for there, back in (maps, maps[::-1]):
            passes(bijector_checks.round_trip("rows", there, back, x, 1e-10))
            passes(bijector_checks.log_dets_opposite("rows", there, back, x, 1e-10))
        passes(bijector_checks.log_det_against_autodiff("x -> z", maps[0], x, 1e-9))

    @pytest.mark.parametrize("carrier", CARRIERS)
    def test_samples_stay_finite(self, carrier):
        bijector = randomize(self.CARRIERS[carrier](Affine()), scale=3.0)
        assert np.isfinite(bijector.forward(tf.constant(np.full((2, 4), 1e300)))).all()


def made(f, order="left-to-right"):
    return MADE((4,), params_size=f.params_size, hidden_units=(12,), activation="tanh", input_order=order, dtype="float64")


class TestRationalQuadraticSpline:
    def test_equals_tfp(self):
        f = RationalQuadraticSpline(num_bins=6, bound=2.5)
        random = np.random.default_rng(0)
        params, z = tf.constant(random.normal(size=(200, 17)) * 2), tf.constant(random.uniform(-3, 3, 200))

        def sizes(raw):
            return 5 * (1e-3 + (1 - 6e-3) * tf.nn.softmax(raw))

        slopes = 1e-3 + tf.nn.softplus(params[:, 12:] + np.log(np.expm1(1 - 1e-3)))
        stock = tfb.RationalQuadraticSpline(sizes(params[:, :6]), sizes(params[:, 6:12]), slopes, range_min=-2.5)
        x, log_det = f.forward(params, z)
        np.testing.assert_allclose(x, stock.forward(tf.identity(z)), rtol=1e-10)
        np.testing.assert_allclose(log_det, stock.forward_log_det_jacobian(tf.identity(z), event_ndims=0), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(f.inverse(params, x)[0], z, rtol=1e-9, atol=1e-12)

    def test_parameters_of_any_size(self):
        # Bins of a thousandth of the interval beside one that holds all the rest.
        f = RationalQuadraticSpline()
        for dtype, tolerance in (("float64", 1e-6), ("float32", 0.05)):
            params = tf.constant(np.random.default_rng(0).normal(size=(500, 23)) * 300, dtype)
            z = tf.constant(np.random.default_rng(1).uniform(-3, 3, 500), dtype)
            x, log_det = f.forward(params, z)
            assert np.isfinite(x).all() and np.isfinite(log_det).all()
            back, _ = f.inverse(params, x)
            assert np.isfinite(back).all()
            np.testing.assert_allclose(f.forward(params, back)[0], x, atol=tolerance * 1e-3)

    @pytest.mark.parametrize(("given", "said"), [({"num_bins": 0}, "`num_bins`"), ({"bound": -1.0}, "`bound` must be above 0")])
    def test_arguments(self, given, said):
        with pytest.raises(ValueError, match=said):
            RationalQuadraticSpline(**given)


class TestNumericalInverse:
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
    import scipy.optimize

    return scipy.optimize.brentq(lambda z: z + np.exp(r) * np.sinh(z) - x, -40, 40, xtol=1e-14, rtol=1e-14)
