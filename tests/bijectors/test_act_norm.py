import numpy as np
import pytest
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.weights import randomize

from tfdgm.bijectors import (
    ActNorm,
)


class TestActNorm(BijectorContract):
    def make(self, dtype):
        return randomize(ActNorm(self.size, dtype=dtype))

    def test_adapt_gives_mean_0_and_variance_1(self):
        x = np.random.default_rng(0).normal(size=(500, 4)) * [1, 1e-3, 1e3, 5] + [0, 1, -1e4, 1e-3]
        bijector = ActNorm(4, dtype="float64")
        bijector.adapt(tf.constant(x))
        z = bijector.inverse(tf.constant(x)).numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)

    def test_adapt_leaves_the_scale_of_a_constant_dimension(self):
        x = np.stack([np.full(20, 7.1), np.zeros(20), np.arange(20.0), np.full(20, -3e5)], axis=1).astype("float32")
        bijector = ActNorm(4)
        bijector.adapt(tf.constant(x))
        z, log_det = bijector.inverse_and_log_det(tf.constant(x))
        assert np.isfinite(z).all()
        np.testing.assert_allclose(log_det, -np.log(np.arange(20.0).std()), rtol=1e-6)

    @pytest.mark.parametrize(
        ("dtype", "mean", "std"),
        [("float64", 1e9, 50), ("float64", 1e9, 1e-4), ("float64", 0, 1e-35), ("float64", 0, 1e-200), ("float32", 0, 1e-35)],
    )
    def test_adapt_knows_all_that_the_dtype_does(self, dtype, mean, std):
        x = (mean + std * np.random.default_rng(0).normal(size=(300, 1))).astype(dtype)
        bijector = ActNorm(1, dtype=dtype)
        bijector.adapt(tf.constant(x))
        z = bijector.inverse(tf.constant(x)).numpy().astype("float64")
        np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-2)

    def test_constants_are_constant_in_float64_too(self):
        bijector = ActNorm(1, dtype="float64")
        bijector.adapt(tf.fill([1000, 1], tf.constant(0.1, tf.float64)))
        np.testing.assert_array_equal(bijector.shift_and_log_scale.s, [0.0])

    def test_adapt_inverted_gives_x_of_mean_0_and_variance_1(self):
        z = tf.constant(np.random.default_rng(0).normal(size=(500, 4)) * [1, 1e-3, 1e3, 0] + [0, 1, -1e4, 1e-3])
        bijector = ActNorm(4, dtype="float64")
        bijector.adapt_inverted(z)
        x = bijector.forward(z).numpy()
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(x.std(axis=0), [1, 1, 1, 0], rtol=1e-9, atol=1e-9)

    def test_nothing_adapts_inside_a_call(self):
        bijector = ActNorm(4)
        bijector.inverse(tf.constant(np.full((3, 4), 9.0, "float32")))
        np.testing.assert_array_equal(bijector.shift_and_log_scale.b, np.zeros(4))

    def test_not_trainable(self):
        layer = ActNorm(4, trainable=False).shift_and_log_scale
        assert layer.trainable_weights == [] and len(layer.weights) == 2
