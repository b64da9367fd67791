"""Samples and seeds."""

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import model_cases


class TestSamples:
    @pytest.mark.slow
    @model_cases("maf_levels_act_norm", "pixelcnn_condition", "gaussian_mixture", "made_real", "iaf", "realnvp_condition")
    def test_eager_graph_and_xla(self, case):
        model = case.adapted()
        given = {} if case.condition is None else {"condition": case.condition[:8]}
        seeds = tf.constant([[3, i] for i in range(8)], tf.int32)
        condition = None if case.condition is None else tf.constant(case.condition[:8])
        eager = model.distribution.from_noise(model.distribution.draw_noise(seeds), condition)
        graph = model.sample(8, seed=3, **given)
        model.runner.functions, model.use_xla = {}, True
        xla = model.sample(8, seed=3, **given)
        scores = model.log_prob(eager, **given)
        for sample in (graph, xla):
            np.testing.assert_allclose(sample, eager, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scores, model.distribution.log_prob_of_rows(eager, condition), rtol=1e-5)

    @pytest.mark.usefixtures("eagerly")
    @model_cases("made_binary", "maf", "gaussian_mixture")
    def test_no_and_many_rows(self, case):
        model = case.make(seed=1)
        assert model.sample(0, seed=1).shape == (0, *model.event_shape)
        assert model.log_prob(case.x[:0]).shape == (0,)
        many = np.resize(case.x, (5000, *model.event_shape))  # More than one chunk.
        np.testing.assert_allclose(model.log_prob(many)[-48:], model.log_prob(many[-48:]), rtol=1e-5)
        assert model.sample(5000, seed=1).shape == (5000, *model.event_shape)
