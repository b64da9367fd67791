"""Of every named model: scores of rows."""

import numpy as np
import pytest
import tensorflow as tf
from contracts import model_cases


class TestScores:
    @pytest.mark.usefixtures("eagerly")
    @model_cases()
    def test_rows_are_independent_and_batch_axes_are_kept(self, case, adapted):
        model = adapted(case)
        scores = model.log_prob(**case.first(6)).numpy()
        assert np.isfinite(scores).all() and scores.shape == (6,)
        condition = None if case.condition is None else case.condition[:6].reshape(2, 3, 2)
        shaped = model.log_prob(case.x[:6].reshape(2, 3, *model.event_shape), condition=condition)
        np.testing.assert_allclose(shaped, scores.reshape(2, 3), rtol=1e-5)
        one = model.log_prob(case.x[2], condition=None if case.condition is None else case.condition[2])
        assert one.shape == ()
        np.testing.assert_allclose(one, scores[2], rtol=1e-5)
        size = np.prod(model.event_shape)
        np.testing.assert_allclose(model.bits_per_dim(**case.first(6)), -scores / size / np.log(2), rtol=1e-6)
        if case.condition is not None:
            other = model.log_prob(case.x[:6], condition=case.condition[6:12])
            assert (np.abs(other - scores) > 1e-6).all()

    @model_cases("made_categorical", "maf", "realnvp_levels")
    def test_from_keras_predict_and_tf_function(self, case, adapted):
        model = adapted(case)
        scores = model.log_prob(**case.first(8))
        np.testing.assert_allclose(
            model.predict(case.x[:8].astype(model.distribution.dtype.as_numpy_dtype), verbose=0), scores, rtol=1e-5
        )
        traced = tf.function(model.log_prob)(tf.constant(case.x[:8], model.distribution.dtype))
        np.testing.assert_allclose(traced, scores, rtol=1e-5)

    @pytest.mark.usefixtures("eagerly")
    @model_cases("made_real", "maf", "iaf", "realnvp", "gaussian_mixture")
    def test_gradients_in_x_are_finite_far_outside_the_data(self, case, adapted):
        model = adapted(case)
        for scale in (1e-6, 1.0, 1e3, 1e5):
            x = tf.constant(scale * np.random.default_rng(0).normal(size=(8, *model.event_shape)), tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(x)
                scores = model.log_prob(x)
            gradient = tape.gradient(scores, x)
            assert gradient is not None
            assert np.isfinite(scores).all() and np.isfinite(gradient).all()
            assert (np.abs(gradient).max(axis=-1) > 0).all()
