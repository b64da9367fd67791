"""First and second derivatives of scores and samples, against finite differences in float64."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import model_cases
from contracts.derivatives import along, derivatives_are_right
from contracts.weights import randomize

import tfdgm
from tfdgm.layers import exporting


class TestScores:
    # XLA takes no second derivative through loops of loops, as in the IAF (TensorFlow 2.21).
    @pytest.mark.slow
    @model_cases("made_real", "maf_condition", "pixelrnn_row")
    def test_in_a_graph_and_under_xla(self, case):
        case().check_derivatives("graph", "xla")

    @pytest.mark.slow
    @model_cases("iaf")
    def test_in_a_graph(self, case):
        case().check_derivatives("graph", num_layers=1, hidden_units=(4,))


class TestSamples:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("size", "mode"), [(1, "eager"), (2, "eager"), (3, "eager"), (5, "eager"), (3, "xla"), (5, "exporting")]
    )
    def test_gradients_of_a_mades_samples_in_noise_and_weights(self, size, mode):
        # An odd number of dimensions is padded to whole blocks.
        model = tfdgm.models.MADE((size,), levels=None, num_components=2, hidden_units=(8,), activation="tanh", dtype="float64")
        randomize(model)
        noise = model.distribution.draw_noise(tf.constant([[1, 0], [1, 1]], tf.int32))
        weights = [w for w in model.trainable_weights if len(w.shape) == 1]  # What is exported holds masked kernels already.
        for layer in model._flatten_layers():
            if isinstance(layer, tfdgm.layers.MaskedDense):
                layer.premask()
        with exporting() if mode == "exporting" else contextlib.nullcontext():
            move, slope, _ = along(lambda u: tf.reduce_sum(model.distribution.from_noise(u) ** 2), weights, noise)
            compiled = tf.function(slope, autograph=False, jit_compile=mode == "xla")
            received = (slope if mode == "eager" else compiled)(*move(0))[1]
            up, down = slope(*move(1e-7))[0], slope(*move(-1e-7))[0]
        np.testing.assert_allclose(received, (up - down) / 2e-7, rtol=1e-5)

    @pytest.mark.slow
    @model_cases("made_real", "maf_condition", "iaf", "realnvp")
    def test_second_derivatives(self, case):
        model = case.exact()
        noise = model.distribution.draw_noise(tf.constant([[1, 0], [1, 1]], tf.int32))
        condition = case.condition_of(2, "float64")
        derivatives_are_right(
            lambda u: tf.reduce_sum(model.distribution.from_noise(u, condition) ** 2), model.trainable_weights, noise
        )
