"""First and second derivatives against finite differences in float64."""

import numpy as np
import tensorflow as tf


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


def derivatives_are_right(function, weights, *values, modes=("eager",)):
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
