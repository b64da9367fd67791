import numpy as np
import pytest
import tensorflow as tf
from contracts.carried import CarriedContract


class ElementwiseContract(CarriedContract):
    """Tests of one elementwise map `f`, by itself and in every carrier."""

    #: What both sides are tried at; with the ends of the interval of a map that has one, and far outside.
    values = np.array([0.0, 1e-6, -0.7, 1.3, 2.999999, 3.0, -3.0, 3.0001, -8.0, 1e3, -1e6])
    #: Of a round trip, relative, and of the log-det there and back: {dtype: (round trip, log-det)}.
    tolerances = {"float64": (1e-13, 1e-8), "float32": (1e-5, 1e-2)}

    def rows(self, dtype="float64"):
        """(params [8 n, params_size], values [8 n])."""
        values = np.tile(np.concatenate([self.values, np.linspace(-2.9, 2.9, 9)]), 8)
        params = np.random.default_rng(0).normal(size=(len(values), self.f.params_size)) * 2
        return tf.constant(params, dtype), tf.constant(values, dtype)

    def test_zero_parameters_are_the_identity(self):
        values, params = tf.constant(self.values), tf.zeros((len(self.values), self.f.params_size), tf.float64)
        for function in (self.f.forward, self.f.inverse):
            moved, log_det = function(params, values)
            np.testing.assert_allclose(moved, values, rtol=1e-13, atol=1e-13)
            np.testing.assert_allclose(log_det, np.zeros(len(values)), atol=1e-13)

    def test_log_det_is_the_logarithm_of_the_derivative(self):
        params, values = self.rows()
        for function in (self.f.forward, self.f.inverse):
            with tf.GradientTape() as tape:
                tape.watch(values)
                moved, log_det = function(params, values)
            np.testing.assert_allclose(log_det, np.log(tape.gradient(moved, values)), rtol=1e-8, atol=1e-10)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_round_trips(self, dtype):
        (tolerance, log_det_tolerance), (params, values) = self.tolerances[dtype], self.rows(dtype)
        for there, back in ((self.f.forward, self.f.inverse), (self.f.inverse, self.f.forward)):
            middle, log_det = there(params, values)
            again, opposite = back(params, middle)
            # Where the slope there is small, rounding in the middle grows by its inverse on the way back.
            allowed = tolerance * (1 + np.abs(values)) * np.maximum(1, np.exp(-log_det))
            assert (np.abs(again - values) <= allowed).all()
            np.testing.assert_allclose(opposite, -log_det, atol=log_det_tolerance)

    def test_is_increasing(self):
        params = tf.constant(np.repeat(np.random.default_rng(1).normal(size=(1, self.f.params_size)) * 3, 2001, axis=0))
        values = tf.constant(np.linspace(-4, 4, 2001))
        for function in (self.f.forward, self.f.inverse):
            assert (np.diff(function(params, values)[0]) > 0).all()

    def test_gradients_are_finite_and_reach_all_parameters(self):
        params, values = self.rows("float32")
        for function in (self.f.forward, self.f.inverse):
            with tf.GradientTape() as tape:
                tape.watch([params, values])
                moved, log_det = function(params, values)
                total = tf.reduce_sum(tf.tanh(moved)) + tf.reduce_sum(log_det)
            of_params, of_values = tape.gradient(total, [params, values], unconnected_gradients="zero")
            assert np.isfinite(of_params).all() and np.isfinite(of_values).all()
            assert (np.abs(of_params).max(axis=0) > 0).all()
