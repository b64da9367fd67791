"""What is outside the support of a model of integers: -infinity or an error on every road, never a plausible number."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES

import tfdgm


@pytest.mark.usefixtures("eagerly")
class TestOutsideTheLevels:
    @pytest.mark.graph
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_traced_and_under_xla(self, jit_compile):
        model = tfdgm.models.MADE((3,), levels=4, hidden_units=(4,))
        x = tf.constant([[9, 9, -3], [0, 3, 1]])
        for function in (model.log_prob, model.distribution.log_prob, model):
            scores = tf.function(function, jit_compile=jit_compile, autograph=False)(x).numpy()
            assert scores[0] == -np.inf and np.isfinite(scores[1])

    def test_fractions_and_nan(self):
        for case in ("made_categorical", "realnvp_levels", "image_transformer_rgb"):
            model = CASES[case].make(seed=1)
            x = tf.cast(np.repeat(CASES[case].x[:1], 3, axis=0), tf.float32).numpy()
            x.reshape(3, -1)[:, 0] = 0.5, np.nan, 1.0
            d = model.distribution
            for scores in (d.log_prob(x).numpy(), np.log(d.prob(tf.constant(x))), d.unnormalized_log_prob(x).numpy()):
                assert (scores[:2] == -np.inf).all() and np.isfinite(scores[2])

    def test_the_sum_over_more_than_all_events_is_1(self):
        model = CASES["made_categorical"].make(seed=1, dtype="float64")
        events = np.array(list(itertools.product(range(-2, 7), repeat=3)))
        np.testing.assert_allclose(np.exp(model.distribution.log_prob(events)).sum(), 1, rtol=1e-12)

    def test_gradients_are_finite(self):
        model = CASES["made_categorical"].make(seed=1)
        with tf.GradientTape() as tape:
            scores = model.distribution.log_prob(tf.constant([[9, 0, 1], [1, 2, 3]]))
            total = tf.reduce_sum(tf.where(tf.math.is_inf(scores), 0.0, scores))
        for gradient in tape.gradient(total, [weight.value for weight in model.trainable_weights]):
            assert np.isfinite(gradient).all()


class TestPredict:
    def test_takes_a_condition_and_tf_data(self):
        case = CASES["maf_condition"]
        model = case.make(seed=1)
        scores = model.log_prob(case.x, case.condition).numpy()
        data = tf.data.Dataset.from_tensor_slices((case.x, case.condition)).batch(7)
        for found in (
            model.predict(case.x, case.condition, verbose=0),
            model.predict(case.x, case.condition, batch_size=20, verbose=0),
            model.predict(data, verbose=0),
        ):
            np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(model.predict(data, steps=2, verbose=0), scores[:14], rtol=1e-4, atol=1e-4)

    def test_refuses_what_log_prob_refuses(self):
        model = CASES["maf_condition"].make()
        with pytest.raises(ValueError, match="needs a `condition`"):
            model.predict(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="must be finite"):
            model.predict(np.full((2, 3), np.nan), np.zeros((2, 2)))
        with pytest.raises(ValueError, match="`batch_size` must be an integer"):
            model.predict(np.zeros((2, 3)), np.zeros((2, 2)), batch_size=0)
