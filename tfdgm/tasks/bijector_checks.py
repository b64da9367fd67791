"""Checks of an invertible map, given as functions of rows: `to_z(x) -> (z, log |det dz/dx|)`, `to_x(z) -> (x, log_det)`.

They work on rows [n, D] and never hand a tensor that came out of one function to another function, so that TFP's cache, which
returns a remembered input for a tensor it knows, cannot answer in place of the mathematics.
"""

import functools

import numpy as np
import tensorflow as tf

from tfdgm.tasks.check import Check, worst
from tfdgm.tasks.score_checks import same_scores
from tfdgm.tasks.subject import MOST_DIMENSIONS, repeat_condition, seeds_of


def checks(subject):
    """Both directions of a flow against each other and autodiff; its score and its samples against their parts."""
    density, tolerances = subject.density, subject.tolerances
    names = [
        "round trip x -> z -> x",
        "round trip z -> x -> z",
        "log-det x -> z = autodiff",
        "log-det z -> x = autodiff",
        "log-dets add up to 0",
        "log_prob = base + log-det",
        "z of a sample = its noise",
    ]
    maps = _maps(subject)
    if maps is None:
        yield from (Check.skip(name, "no flow") for name in names)
        return
    to_z, to_x = maps
    real = np.asarray(subject.real).reshape(len(subject.x), -1)
    size = real.shape[1]
    z = np.asarray(to_z(tf.constant(real))[0])
    yield round_trip(names[0], to_z, to_x, real, tolerances.inverse, scale=real.std(axis=0))
    drawn = np.random.default_rng(subject.seed).normal(size=z.shape).astype(z.dtype)
    yield round_trip(names[1], to_x, to_z, drawn, tolerances.inverse)
    few = slice(0, max(1, 256 // size))
    loops = [has_loop(function, real) for function in maps]
    for name, function, at, loop in zip(names[2:4], maps, (real, z), loops, strict=True):
        if loop and not all(loops):  # The gradient of a loop takes half a minute to trace.
            yield Check.skip(name, "a loop over dimensions: follows from the other direction, and the sum of both")
        elif size > MOST_DIMENSIONS and loop:
            yield Check.skip(name, f"{size} dimensions, one after the other; the most is {MOST_DIMENSIONS}")
        else:
            yield log_det_against_autodiff(name, function, at[few], tolerances.log_det)
    yield log_dets_opposite(names[4], to_z, to_x, real, tolerances.log_det)
    if not subject.is_flow:
        yield from (Check.skip(name, "a stock flow: see `integral, and samples`") for name in names[5:])
        return

    to_base, condition = subject.method(density, "to_base"), subject.conditions(len(real))
    z, log_det = to_base(subject.real, condition)
    parts = subject.method(subject.source, "log_prob_of_rows")(z, subject.conditions_of_source(condition)) + log_det
    score = subject.method(density, "log_prob_of_rows")(subject.real, condition)
    yield same_scores(names[5], score, parts, tolerances.score, "log_prob, its parts")

    n = 256 if size <= MOST_DIMENSIONS else 64
    noise, condition = density.draw_noise(seeds_of(subject.seed, n)), subject.conditions(n)
    expected = subject.method(subject.source, "from_noise")(noise, subject.conditions_of_source(condition))
    back, _ = to_base(subject.method(density, "from_noise")(noise, condition), condition)
    back, expected = np.asarray(back, np.float64), np.asarray(expected, np.float64)
    error = np.abs(back - expected) / (1 + np.abs(expected))
    detail = f"largest relative difference over {n} rows, each under its own condition" if subject.condition is not None else None
    yield Check(names[6], worst(error), tolerances.inverse, detail or f"largest relative difference, {n} rows")


def _maps(subject):
    """`to_z` and `to_x` of a flow as compiled functions of flat rows, under one condition; None where there is no flow."""
    density = subject.density
    event_shape = tuple(density.event_shape.as_list())

    def conditions(rows):
        return repeat_condition(subject.first_condition, rows, density.dtype)

    if subject.is_flow:

        def to_z(x):
            return subject.method(density, "to_base")(tf.reshape(x, (-1, *event_shape)), conditions(x))

        def to_x(z):
            return density.from_base_and_log_det(tf.reshape(z, (-1, *density.latent_shape)), conditions(z))

    elif density.bijector is not None and density.bijector.forward_event_shape(density.event_shape) == density.event_shape:
        bijector, ndims = density.bijector, density.event_shape.rank

        def to_z(x):
            x = tf.reshape(x, (-1, *event_shape))
            return bijector.inverse(x), bijector.inverse_log_det_jacobian(x, ndims)

        def to_x(z):
            z = tf.reshape(z, (-1, *event_shape))
            return bijector.forward(z), bijector.forward_log_det_jacobian(z, ndims)

    else:
        return None
    # One trace for every number of rows.
    rows = tf.TensorSpec((None, density.event_shape.num_elements()), density.dtype)
    maps = (functools.partial(_flat, function) for function in (to_z, to_x))
    return tuple(tf.function(function, autograph=False, input_signature=[rows]) for function in maps)


def _flat(function, rows):
    value, log_det = function(rows)
    return tf.reshape(value, tf.shape(rows)), log_det


def has_loop(function, rows):
    """Whether a compiled function runs a loop."""
    graph = function.get_concrete_function(tf.constant(rows)).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return any(node.op in ("While", "StatelessWhile") for node in nodes)


def round_trip(name, there, back, rows, tolerance, scale=None):
    """How far back(there(rows)) is from rows: the largest |difference| / (|row| + scale); scale [D], by default 1."""
    rows = np.asarray(rows)
    middle, _ = there(tf.constant(rows))
    again, _ = back(tf.constant(np.asarray(middle)))
    scale = np.ones(rows.shape[1:]) if scale is None else scale
    error = np.abs(np.asarray(again, np.float64) - rows) / (np.abs(rows.astype(np.float64)) + scale)
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(rows)} rows")


def log_det_against_autodiff(name, function, rows, tolerance):
    """How far the log-determinant that `function` returns is from slogdet of its autodiff Jacobian, relative to max(1, |.|)."""
    rows = np.asarray(rows)
    _, log_det = function(tf.constant(rows))
    sign, expected = np.linalg.slogdet(np.asarray(jacobian(function, rows), np.float64))
    error = np.abs(np.asarray(log_det, np.float64) - expected) / np.maximum(1, np.abs(expected))
    error[sign == 0] = np.inf
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(rows)} rows")


def log_dets_opposite(name, there, back, rows, tolerance):
    """How far the two directions' log-determinants are from adding up to 0, relative to max(1, |.|)."""
    middle, forth = there(tf.constant(np.asarray(rows)))
    _, back_again = back(tf.constant(np.asarray(middle)))
    forth, back_again = np.asarray(forth, np.float64), np.asarray(back_again, np.float64)
    error = np.abs(forth + back_again) / np.maximum(1, np.abs(forth))
    return Check(name, worst(error), tolerance, f"largest relative difference over {len(rows)} rows")


def jacobian(function, rows):
    """d function(x)[0] / dx for each row x: [n, D] -> [n, D out, D in].

    Each row is repeated D times, once for each output; so one backward pass gives all (outputs depend on their own row alone).
    """
    n, size = rows.shape
    x = tf.constant(np.repeat(rows, size, axis=0))
    pick = tf.constant(np.tile(np.eye(size, dtype=rows.dtype), (n, 1)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, _ = function(x)
    gradient = tape.gradient(y, x, output_gradients=pick, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return gradient.numpy().reshape(n, size, size)
