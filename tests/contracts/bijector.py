import math

import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes
from contracts.weights import weights_of
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.bijectors import forward_and_log_det, inverse_and_log_det
from tfdgm.tasks import bijector_checks


def extreme_rows(size, values, dtype):
    """Rows that mix the given values: each value everywhere, and in every single place among ordinary numbers."""
    ordinary = np.random.default_rng(5).normal(size=(len(values), size))
    everywhere = np.repeat(np.asarray(values)[:, None], size, axis=1)
    mixed = ordinary.copy()
    for i, value in enumerate(values):
        mixed[i, i % size] = value
    return np.concatenate([everywhere, mixed, ordinary]).astype(dtype)


class BijectorContract:
    """Tests of one bijector over vectors; a subclass gives `make(dtype)`, with random weights, and what differs of the rest."""

    size = 4
    condition_shape = None
    #: What x (the data side) and z are tried at, besides ordinary numbers.
    data_values = (0.0, 1e-6, -1e-6, 1e-3, 1.0, -30.0, 1e3, 1e6, -1e6)
    noise_values = (0.0, 1e-6, -1e-6, 1.0, 6.0, -6.0)
    #: Whether the map is defined at every real x; else rows are drawn within data_range.
    data_range = None
    has_weights = True
    #: Of a round trip, relative. A float32 number keeps 7 digits; log-scales of a few units and a sum over the layers cost three.
    round_trip_tolerances = {"float64": 1e-10, "float32": 1e-4}
    #: In float64: of log-dets against autodiff, and of one direction's against the other's.
    log_det_tolerance, opposite_tolerance = 1e-8, 1e-10

    def make(self, dtype):
        raise NotImplementedError

    def condition(self, dtype):
        return None if self.condition_shape is None else np.linspace(-1, 1, math.prod(self.condition_shape)).astype(dtype)

    def rows_of_x(self, dtype):
        rows = extreme_rows(self.size, self.data_values, dtype)
        return rows if self.data_range is None else np.clip(np.abs(rows), *self.data_range).astype(dtype)

    def rows_of_z(self, dtype):
        return extreme_rows(self.size, self.noise_values, dtype)

    def ordinary_x(self, dtype, n=6):
        low, high = self.data_range or (-2, 2)
        return np.random.default_rng(6).uniform(low, high, (n, self.size)).astype(dtype)

    def maps(self, bijector, dtype):
        condition = self.condition(dtype)
        return (
            lambda x: inverse_and_log_det(bijector, x, condition),
            lambda z: forward_and_log_det(bijector, z, condition),
        )

    def given(self, dtype):
        return {} if self.condition_shape is None else {"condition": self.condition(dtype)}

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_round_trip(self, dtype):
        tolerance = self.round_trip_tolerances[dtype]
        to_z, to_x = self.maps(self.make(dtype), dtype)
        for name, there, back, rows in (("x", to_z, to_x, self.rows_of_x(dtype)), ("z", to_x, to_z, self.rows_of_z(dtype))):
            scale = 1 + np.abs(rows).max(axis=1, keepdims=True)
            passes(bijector_checks.round_trip(name, there, back, rows, tolerance, scale=scale))

    def test_log_det_is_that_of_the_autodiff_jacobian(self):
        to_z, to_x = self.maps(self.make("float64"), "float64")
        passes(bijector_checks.log_det_against_autodiff("x -> z", to_z, self.ordinary_x("float64"), self.log_det_tolerance))
        passes(bijector_checks.log_det_against_autodiff("z -> x", to_x, self.rows_of_z("float64"), self.log_det_tolerance))

    def test_log_dets_are_opposite(self):
        maps = self.maps(self.make("float64"), "float64")
        passes(bijector_checks.log_dets_opposite("x", *maps, self.ordinary_x("float64"), self.opposite_tolerance))

    def test_tfp_methods_agree_with_the_fused_pair(self):
        bijector, given = self.make("float64"), self.given("float64")
        x = tf.constant(self.ordinary_x("float64"))
        z, inverse_log_det = bijector.inverse_and_log_det(x, **given)
        again, forward_log_det = bijector.forward_and_log_det(z, **given)
        for ours, theirs in (
            (bijector.inverse(x, **given), z),
            (bijector.forward(z, **given), again),
            (bijector.inverse_log_det_jacobian(x, event_ndims=1, **given), inverse_log_det),
            (bijector.forward_log_det_jacobian(z, event_ndims=1, **given), forward_log_det),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        summed = bijector.inverse_log_det_jacobian(x, event_ndims=2, **given)
        np.testing.assert_allclose(summed, np.sum(inverse_log_det), rtol=1e-12)

    def test_several_and_no_batch_axes(self):
        bijector, given = self.make("float64"), self.given("float64")
        x = self.ordinary_x("float64")
        z, log_det = bijector.inverse_and_log_det(tf.constant(x), **given)
        z_2, log_det_2 = bijector.inverse_and_log_det(tf.constant(x.reshape(2, 3, self.size)), **given)
        z_0, log_det_0 = bijector.inverse_and_log_det(tf.constant(x[0]), **given)
        np.testing.assert_allclose(z_2, np.reshape(z, (2, 3, self.size)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(log_det_2, np.reshape(log_det, (2, 3)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(z_0, z[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(log_det_0, log_det[0], rtol=1e-12, atol=1e-12)
        assert log_det_0.shape == ()

    @pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_graph_and_xla_give_the_same(self, jit_compile):
        to_z, to_x = self.maps(self.make("float64"), "float64")
        x = tf.constant(self.ordinary_x("float64"))
        for function in (to_z, to_x):
            compiled = tf.function(function, jit_compile=jit_compile, autograph=False)(x)
            for one, other in zip(function(x), compiled, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)

    def test_a_changed_weight_changes_the_score_of_the_same_tensor(self):
        if not self.has_weights:
            pytest.skip("no weights")
        bijector, given = self.make("float64"), self.given("float64")
        if given:
            bijector = _Given(bijector, **given)
        flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), self.size), bijector)
        x = tf.constant(self.ordinary_x("float64"))
        with tf.GradientTape() as tape:
            before = flow.log_prob(x)
            loss = -tf.reduce_mean(before)
        weights = weights_of(bijector)
        gradients = tape.gradient(loss, weights)
        assert all(gradient is not None for gradient in gradients)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_sub(0.01 * gradient)
        after = flow.log_prob(x)
        assert (np.abs(after - before) > 1e-6).all()
        np.testing.assert_allclose(after, flow.log_prob(tf.constant(x.numpy())), rtol=1e-13)

    def test_inside_stock_tfp(self):
        bijector = self.make("float64")
        if self.condition_shape is not None:
            bijector = _Given(bijector, **self.given("float64"))
        x = tf.constant(self.ordinary_x("float64"))
        z, log_det = bijector.inverse_and_log_det(x)

        inverted = tfb.Invert(bijector)
        np.testing.assert_allclose(inverted.forward(x), z, rtol=1e-12)
        np.testing.assert_allclose(inverted.forward_log_det_jacobian(x, event_ndims=1), log_det, rtol=1e-12, atol=1e-14)

        chain = tfb.Chain([bijector, tfb.Scale(tf.constant(2.0, tf.float64))])
        np.testing.assert_allclose(chain.inverse(x), z / 2, rtol=1e-12)
        expected = log_det - self.size * math.log(2)
        np.testing.assert_allclose(chain.inverse_log_det_jacobian(x, event_ndims=1), expected, rtol=1e-12)

        base = tfd.MultivariateNormalDiag(tf.zeros(self.size, tf.float64))
        flow = tfd.TransformedDistribution(base, bijector)
        np.testing.assert_allclose(flow.log_prob(x), base.log_prob(z) + log_det, rtol=1e-12)
        assert np.isfinite(flow.sample(3, seed=1)).all()

    def test_gradients_are_finite_at_extreme_inputs(self):
        bijector, given = self.make("float32"), self.given("float32")
        weights = weights_of(bijector)
        for method, rows in (
            (bijector.inverse_and_log_det, extreme_rows(self.size, self.data_values, "float32")),
            (bijector.forward_and_log_det, self.rows_of_z("float32")),
        ):
            x = tf.constant(rows)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value, log_det = method(x, **given)
                total = tf.reduce_sum(value) + tf.reduce_sum(log_det)
            for gradient in tape.gradient(total, [x, *weights]):
                assert gradient is not None
                assert np.isfinite(gradient).all()


class _Given(tfdgm.bijectors.Bijector):
    """A bijector under one fixed condition: stock TFP classes pass none on."""

    def __init__(self, bijector, condition):
        super().__init__(dtype=bijector.dtype, name="given")
        self.bijector, self.fixed = bijector, condition

    def forward_and_log_det(self, z, condition=None):
        return self.bijector.forward_and_log_det(z, self.fixed)

    def inverse_and_log_det(self, x, condition=None):
        return self.bijector.inverse_and_log_det(x, self.fixed)
