"""First and second derivatives of scores and samples, against finite differences in float64."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES, FAST, model_cases
from contracts.weights import randomize

import tfdgm
from tfdgm.layers import exporting


def along(function, weights, *values):
    """Of y(t) = function(values + t d), where the weights move along with t: a function t -> the values, which sets the weights;
    one of the values that returns (y, y'); one that returns (y, y', y'')."""
    random = np.random.default_rng(7)
    directions = [random.normal(size=v.shape) for v in (*values, *weights)]
    start = [w.numpy() for w in weights]

    def move(t):
        for weight, value, direction in zip(weights, start, directions[len(values) :], strict=True):
            weight.assign(value + t * direction)
        return [v + t * d for v, d in zip(values, directions, strict=False)]

    def derivative(tape, y, values):
        gradients = tape.gradient(y, [*values, *(w.value for w in weights)], unconnected_gradients="zero")
        return sum(tf.reduce_sum(tf.convert_to_tensor(g) * d) for g, d in zip(gradients, directions, strict=True))

    def slope(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            y = function(*values)
        return y, derivative(tape, y, values)

    def curvature(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            y, first = slope(*values)
        return y, first, derivative(tape, first, values)

    return move, slope, curvature


def check(function, weights, *values, modes=("eager",)):
    """Both derivatives of a scalar function along one direction in its values and weights together, in each mode."""
    move, slope, curvature = along(function, weights, *values)
    h = 1e-6
    up, down = slope(*move(h)), slope(*move(-h))
    values = move(0)
    first, second = ((float(a) - float(b)) / (2 * h) for a, b in zip(up, down, strict=True))
    assert first and second
    for mode in modes:
        run = curvature if mode == "eager" else tf.function(curvature, autograph=False, jit_compile=mode == "xla")
        _, one, two = run(*values)
        np.testing.assert_allclose(one, first, rtol=1e-5, atol=1e-6, err_msg=f"first, {mode}")
        np.testing.assert_allclose(two, second, rtol=1e-5, atol=1e-6, err_msg=f"second, {mode}")


def made_ready(case, **changes):
    model = case.make(seed=1, dtype="float64", **changes)
    model.adapt(case.x, case.condition)
    randomize(model, 1, scale=0.7)
    return model


class TestScores:
    @model_cases(*CASES, fast=FAST)
    def test_first_and_second_derivatives_in_x_and_weights(self, case):
        self.check(case, "eager")

    # XLA takes no second derivative through loops of loops, as in the IAF (TensorFlow 2.21).
    @pytest.mark.slow
    @model_cases("made_real", "maf_condition", "pixelrnn_row")
    def test_in_a_graph_and_under_xla(self, case):
        self.check(case, "graph", "xla")

    @pytest.mark.slow
    @model_cases("iaf")
    def test_in_a_graph(self, case):
        self.check(case, "graph", num_layers=1, hidden_units=(4,))

    def check(self, case, *modes, **changes):
        model = made_ready(case, **changes)
        x = tf.constant(case.x[:3], model.distribution.dtype)
        condition = None if case.condition is None else tf.constant(case.condition[:3], tf.float64)
        weights = model.trainable_weights
        if model.levels is None:
            check(lambda x: tf.reduce_sum(model.distribution.log_prob_of_rows(x, condition)), weights, x, modes=modes)
        else:
            check(lambda: tf.reduce_sum(model.distribution.log_prob_of_rows(x, condition)), weights, modes=modes)


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
        model = made_ready(case)
        noise = model.distribution.draw_noise(tf.constant([[1, 0], [1, 1]], tf.int32))
        condition = None if case.condition is None else tf.constant(case.condition[:2], tf.float64)
        check(lambda u: tf.reduce_sum(model.distribution.from_noise(u, condition) ** 2), model.trainable_weights, noise)
