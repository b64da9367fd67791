import contextlib

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfdgm.layers import (
    Dropout,
    MaskedDense,
    bounded_log_scale,
    exporting,
    inverse_cdf,
    is_exporting,
    normal_quantile,
    take_row,
    take_slice,
    update_slice,
)


class TestMaskedDense:
    def layer(self, mask, **kwargs):
        random, layer = np.random.default_rng(0), MaskedDense(mask, dtype="float64", **kwargs)
        for weight in layer.weights:
            weight.assign(random.normal(size=weight.shape))
        return layer

    def test_formula(self):
        mask = np.random.default_rng(1).integers(0, 2, (5, 3))
        layer = self.layer(mask, activation="tanh")
        x = np.random.default_rng(2).normal(size=(4, 5))
        expected = np.tanh(x @ (np.asarray(layer.kernel) * mask) + np.asarray(layer.bias))
        np.testing.assert_allclose(layer(x), expected, rtol=1e-12)

    def test_column_blocks_leave_nothing_out(self):
        # Wide and block-triangular, so that the product is taken in blocks; and the same with rows shuffled, so that it is not.
        degrees = np.arange(256)
        mask = degrees[None, :] > degrees[:, None]
        for rows in (degrees, np.random.default_rng(0).permutation(256)):
            layer = self.layer(mask[rows])
            x = np.random.default_rng(2).normal(size=(3, 256))
            expected = x @ (np.asarray(layer.kernel) * mask[rows]) + np.asarray(layer.bias)
            np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12)
        assert len(self.layer(mask)._column_blocks) > 1

    def test_premask_changes_no_output(self):
        layer = self.layer([[1, 0], [1, 1]])
        x = np.array([[1.0, 2.0]])
        before = layer(x)
        layer.premask()
        np.testing.assert_array_equal(layer(x), before)
        assert layer.kernel.numpy()[0, 1] == 0

    def test_an_exported_kernel_is_taken_as_premasked(self):
        layer, x = self.layer([[1, 0], [1, 1]]), np.array([[1.0, 2.0]])
        layer.premask()
        with exporting():
            np.testing.assert_array_equal(layer(x), [[1.0, 2.0] @ np.asarray(layer.kernel) + np.asarray(layer.bias)])

    def test_no_gradient_through_a_cut_connection(self):
        layer = self.layer([[1, 0], [1, 1]])
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(layer(tf.ones((1, 2), tf.float64)) ** 2)
        gradient = tf.convert_to_tensor(tape.gradient(y, layer.kernel.value))
        assert gradient[0, 1] == 0 and gradient[1, 1] != 0

    def test_config(self):
        layer = self.layer([[1, 0], [1, 1]], activation="relu", use_bias=False)
        again = MaskedDense.from_config(layer.get_config())
        again.set_weights(layer.get_weights())
        x = np.array([[1.0, -2.0]])
        np.testing.assert_array_equal(again(x), layer(x))

    def test_mask_must_be_a_matrix(self):
        with pytest.raises(ValueError, match=r"matrix \[in, out\]. Received: mask.shape=\(3,\)"):
            MaskedDense([1, 0, 1])


class TestDropout:
    def test_rate_scale_and_independence(self):
        layer, x = Dropout(0.3, seed=1), np.ones((200, 500), "float32")
        masks = [layer(x, training=True).numpy() for _ in range(2)]
        for mask in masks:
            np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.7], rtol=1e-6)
            # 100,000 draws: four standard errors; of rows and columns too, so that no pattern hides.
            assert abs((mask == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 1e5)
            assert abs((mask == 0).mean(axis=0) - 0.3).max() < 5 * np.sqrt(0.21 / 200)
            assert abs((mask == 0).mean(axis=1) - 0.3).max() < 5 * np.sqrt(0.21 / 500)
        kept = [(mask > 0).ravel() for mask in masks]
        assert abs(np.corrcoef(*kept)[0, 1]) < 0.015  # Another mask each step,
        assert abs(np.corrcoef(kept[0][1:], kept[0][:-1])[0, 1]) < 0.015  # and neighbours share nothing.

    def test_only_in_training_and_by_its_seed(self):
        x = np.ones((4, 50), "float32")
        np.testing.assert_array_equal(Dropout(0.5, seed=1)(x), x)
        np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)
        one, same, other = (Dropout(0.5, seed=seed)(x, training=True).numpy() for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    def test_xla_draws_the_same(self):
        x = tf.ones((4, 50))
        layers = [Dropout(0.5, seed=1) for _ in range(2)]
        compiled = tf.function(lambda: layers[0](x, training=True), jit_compile=True, autograph=False)()
        np.testing.assert_array_equal(compiled, layers[1](x, training=True))

    def test_rate_is_checked(self):
        with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\). Received: rate=1.5"):
            Dropout(1.5)


class TestBoundedLogScale:
    def test_bounds_and_slope(self):
        raw = tf.constant([-1e30, -7.0, 0.0, 7.0, 1e30])
        with tf.GradientTape() as tape:
            tape.watch(raw)
            value = bounded_log_scale(raw)
        np.testing.assert_allclose(value, [-7, -3.5, 0, 3.5, 7], rtol=1e-6)
        gradient = tape.gradient(value, raw).numpy()
        assert np.isfinite(gradient).all() and gradient[2] == 1


class TestNormalQuantile:
    def test_against_scipy(self):
        u = np.array([2.0**-25, 1e-3, 0.3, 0.5, 0.9, 1 - 2.0**-25])
        np.testing.assert_allclose(normal_quantile(tf.constant(u)), scipy.stats.norm.ppf(u), rtol=1e-9, atol=1e-12)


class TestUpdateSlice:
    @pytest.mark.parametrize("mode", ["eager", "graph", "xla", "exporting"])
    def test_value_and_gradient_at_a_moving_index(self, mode):
        x = tf.constant(np.arange(12.0).reshape(4, 3))
        update = tf.constant([[70.0, 80.0, 90.0]], tf.float64)

        def run(i):
            with tf.GradientTape() as tape:
                tape.watch([x, update])
                written = update_slice(x, [i, 0], update)
                loss = tf.reduce_sum(written**2)
            return written, *tape.gradient(loss, [x, update])

        i = tf.constant(2)
        if mode == "exporting":
            with exporting():
                function = tf.function(run).get_concrete_function(i)
            assert not any("Xla" in op.type for op in function.graph.get_operations())
            written, gradient_x, gradient_update = function(i)
        else:
            function = run if mode == "eager" else tf.function(run, jit_compile=mode == "xla")
            written, gradient_x, gradient_update = function(i)
        expected = np.arange(12.0).reshape(4, 3)
        expected[2] = [70, 80, 90]
        np.testing.assert_array_equal(written, expected)
        np.testing.assert_array_equal(gradient_update, [[140.0, 160.0, 180.0]])
        expected[2] = 0
        np.testing.assert_array_equal(gradient_x, 2 * expected)

    def test_exporting_ends_with_its_block(self):
        with exporting():
            assert is_exporting()
        assert not is_exporting()
        x = tf.zeros((3, 2))
        graph = tf.function(lambda i: update_slice(x, [i, 0], x[:1])).get_concrete_function(tf.constant(1)).graph
        assert not any(op.type == "TensorStridedSliceUpdate" for op in graph.get_operations())


class TestTakeSlice:
    @pytest.mark.parametrize("mode", ["eager", "graph", "xla", "exporting"])
    def test_values_at_a_moving_index(self, mode):
        x = np.arange(24.0).reshape(4, 3, 2)

        def run(i):
            return take_row(tf.constant(x), i), take_slice(tf.constant(x), [0, i, 1], [None, 2, 1])

        with exporting() if mode == "exporting" else contextlib.nullcontext():
            row, part = (run if mode == "eager" else tf.function(run, jit_compile=mode == "xla"))(tf.constant(1))
        np.testing.assert_array_equal(row, x[1])
        np.testing.assert_array_equal(part, x[:, 1:3, 1:2])


def test_layers_are_keras_layers():
    assert issubclass(MaskedDense, keras.layers.Layer)


class TestInverseCDF:
    def test_is_numpys_search(self):
        random = np.random.default_rng(0)
        p = random.dirichlet(np.ones(5), size=200)
        u = random.uniform(size=200)
        expected = [np.searchsorted(np.cumsum(row)[:-1], value, side="right") for row, value in zip(p, u, strict=True)]
        np.testing.assert_array_equal(inverse_cdf(tf.constant(p), tf.constant(u)), expected)

    def test_never_beyond_the_last(self):
        # In float32 these add up to less than the largest number below 1.
        p, u = tf.fill((1, 10), tf.constant(0.09999, tf.float32)), tf.constant([np.nextafter(np.float32(1), np.float32(0))])
        np.testing.assert_array_equal(inverse_cdf(p, u), [9])

    def test_one_law_for_all_rows(self):
        np.testing.assert_array_equal(
            inverse_cdf(tf.constant([0.25, 0.5, 0.25]), tf.constant([0.1, 0.25, 0.7, 0.9])), [0, 1, 1, 2]
        )
