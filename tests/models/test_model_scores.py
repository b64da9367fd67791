"""Scores of rows."""

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES, model_cases

import tfdgm


class TestScores:
    @pytest.mark.slow
    @model_cases("made_categorical", "maf", "realnvp_levels")
    def test_from_keras_predict_and_tf_function(self, case):
        model = case.adapted()
        scores = model.log_prob(**case.first(8))
        np.testing.assert_allclose(
            model.predict(case.x[:8].astype(model.distribution.dtype.as_numpy_dtype), verbose=0), scores, rtol=1e-5
        )
        traced = tf.function(model.log_prob)(tf.constant(case.x[:8], model.distribution.dtype))
        np.testing.assert_allclose(traced, scores, rtol=1e-5)

    @pytest.mark.slow
    @model_cases("made_categorical", "maf_condition")
    def test_two_traces_serve_all_sizes(self, case):
        model = case.make()
        x = np.resize(case.x, (300, *model.event_shape))
        condition = None if case.condition is None else case.condition[0]
        all_scores, all_samples = model.log_prob(x, condition), model.sample(300, seed=1, condition=condition)
        for n in (7, 20, 40, 70, 130):
            np.testing.assert_allclose(model.log_prob(x[:n], condition), all_scores[:n], rtol=1e-5)
            np.testing.assert_allclose(model.sample(n, seed=1, condition=condition), all_samples[:n], rtol=1e-5, atol=1e-6)
        assert [function.experimental_get_tracing_count() for function in model.runner.functions.values()] == [2, 2, 2]

    @pytest.mark.usefixtures("eagerly")
    def test_many_rows_of_a_large_event_come_in_parts(self, monkeypatch):
        # All at once, 4096 images of 28x28 under a network with attention took 16 GB.
        model = tfdgm.models.MADE((28, 28), levels=2, hidden_units=(2,))
        assert model.runner.rows_at_once == 512
        assert tfdgm.models.MADE((8, 8), levels=256, hidden_units=(2,)).runner.rows_at_once == 1024
        assert tfdgm.models.MAF((28, 28), num_layers=1, hidden_units=(2,)).runner.rows_at_once == 2048
        assert CASES["maf"].make().runner.rows_at_once == 4096
        sizes, score = [], model.distribution.log_prob_of_rows
        monkeypatch.setattr(model.distribution, "log_prob_of_rows", lambda x, c: sizes.append(len(x)) or score(x, c))
        x = np.random.default_rng(0).integers(0, 2, size=(1100, 28, 28))
        np.testing.assert_allclose(model.log_prob(x)[-9:], model.log_prob(x[-9:]), rtol=1e-5)
        assert sizes == [512, 512, 128, 16]
