import numpy as np
import pytest
import tensorflow as tf
from contracts.model import ModelContract

from tfdgm.non_finite import NonFiniteScoresWarning


class RealModelContract(ModelContract):
    """Tests of one model over real numbers in one configuration."""

    def test_where_float32_ends_scores_are_minus_infinity_and_not_nan(self, exported):
        model, folder = exported
        far = np.float32([1e17, 1e20, 1e30, 1e37, 3e38])
        x = np.concatenate([np.outer(far, [1, 1, 1]), np.outer(far, [0, 0, -1]), np.outer(far, [1, 0, -1])]).astype("float32")
        c = None if self.condition is None else np.resize(self.condition, (len(x), 2))
        scores = model.log_prob(x, c).numpy()
        assert not np.isnan(scores).any() and (scores < -1e20).all() and (scores[4::5] == -np.inf).all()
        given = {} if c is None else {"condition": tf.constant(c)}
        model.compile("adam")
        for found in (
            model.distribution.log_prob(x, **given),
            model(tf.constant(x), **given),
            self.counted_as_not_finite(model, x, c),
            tf.saved_model.load(str(folder / "1")).signatures["log_prob"](x=tf.constant(x), **given)["log_prob"],
        ):
            np.testing.assert_array_equal(np.isinf(found), np.isinf(scores))
            np.testing.assert_allclose(found, scores, rtol=1e-3)

    @staticmethod
    def counted_as_not_finite(model, x, condition):
        with pytest.warns(NonFiniteScoresWarning, match=f"of {len(x)} scores are -inf or NaN"):
            return model.predict(x, condition, verbose=0)

    def test_gradients_in_x_are_finite_far_outside_the_data(self):
        model, condition = self.adapted(), self.first(8).get("condition")
        for scale in (1e-6, 1.0, 1e3, 1e5):
            x = tf.constant(scale * np.random.default_rng(0).normal(size=(8, *model.event_shape)), tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(x)
                scores = model.log_prob(x, condition)
            gradient = tape.gradient(scores, x)
            assert gradient is not None
            assert np.isfinite(scores).all() and np.isfinite(gradient).all()
            assert (np.abs(gradient).max(axis=-1) > 0).all()
