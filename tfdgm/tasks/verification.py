import contextlib
import dataclasses
import functools
import logging
import tempfile

import numpy as np
import tensorflow as tf

from tfdgm.bijectors import forward_and_log_det
from tfdgm.distributions import Dequantized, Distribution, Flow, Wrapped
from tfdgm.networks import AutoregressiveNetwork
from tfdgm.tasks import artifact_checks, bijector_checks, density_checks, network_checks
from tfdgm.tasks.check import Check
from tfdgm.tasks.report import Report


@dataclasses.dataclass(frozen=True)
class _Tolerances:
    """What rounding may do; a wrong formula shows as 1e-1 and more.

    A float32 flow rounds each value to 6e-8 of itself. A layer may then scale it by up to exp(7) = 1e3, and layers add up, so a
    few of the 7 digits are left: 1e-3. The SavedModel and the model compute the same sums, in another order: 1e-5 of |log p|.
    """

    inverse: float = 1e-3
    network: float = 1e-4
    score: float = 1e-5
    mass: float = 1e-3  # of the grid as well as of the arithmetic
    total: float = 1e-4


_TOLERANCES = {"float32": _Tolerances(), "float64": _Tolerances(inverse=1e-8, network=1e-10, score=1e-8, total=1e-8)}

_MOST_EVENTS = 1 << 16  # of a sum over all events
_MOST_DIMENSIONS = 128  # of a Jacobian through a loop over dimensions, whose memory grows with their cube


@contextlib.contextmanager
def _without_retracing_warnings():
    """Checks trace functions of their own, each for one use, which TensorFlow takes for one function traced again and again."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@_without_retracing_warnings()
def verify(model, x=None, *, condition=None, rows=64, seed=0, artifact=True):
    """Measures whether a model is the density it says it is; returns a `Report`, and `print(report)` shows a table.

        report = tfdgm.verify(model, x)
        print(report)
        assert report.passed

    What applies to the model is measured: finite scores, rows scored independently, the round trip of a flow, its log-determinant
    against autodiff, the total mass (a sum over all events of a small discrete model, an integral over real data of one or two
    dimensions), the masks of autoregressive networks, their two evaluations against each other, the same sample compiled and not,
    the SavedModel against the model. What does not apply, or would take too long, is reported as skipped, with the reason.

    Args:
      model: a `DensityModel`.
      x: rows [n, *event_shape] to measure on, such as test data; by default the model's own samples.
      condition: [n, *condition_shape], or one for all rows, for models that take one; by default standard normal numbers, which
        the report says.
      rows: number of rows of x that are used.
      seed: of the samples and of what else is drawn.
      artifact: whether to export the model to a temporary folder and measure the SavedModel too.
    """
    dtype = np.dtype(model.compute_dtype)
    tolerances = _TOLERANCES.get(dtype.name, _Tolerances())
    made_up = "; condition: standard normal numbers" if condition is None and model.condition_shape is not None else ""
    x, condition = _rows(model, x, condition, rows, seed)
    checks = [
        *_score_checks(model, x, condition, tolerances),
        *_flow_checks(model, x, condition, seed, tolerances),
        _mass_check(model, condition, seed, tolerances),
        *_network_checks(model, condition, seed, tolerances),
        *_sample_checks(model, condition, seed, tolerances),
    ]
    if artifact:
        with tempfile.TemporaryDirectory() as folder:
            checks += artifact_checks.saved_model(model, x, condition, folder, tolerances.score)
    kind = "a lower bound on log p" if model.is_bound else "log p"
    title = f"{type(model).__name__} {tuple(model.event_shape)}, {dtype.name}; log_prob is {kind}; {len(x)} rows{made_up}"
    return Report(checks, title)


def _rows(model, x, condition, rows, seed):
    """Up to `rows` rows (x, condition), made up where they are not given."""
    shape = model.condition_shape
    n = rows
    if x is not None:
        x = model._check_x(x).reshape(-1, *model.event_shape)
        n = len(x)
    elif shape is not None and np.ndim(condition) > len(shape):
        n = len(condition)
    if not n:
        raise ValueError("`x` and `condition` must hold at least one row. Received: 0 rows")
    if shape is not None and condition is None:
        condition = np.random.default_rng(seed).normal(size=(n, *shape))
    condition = model._check_condition(condition, (n,))
    condition = None if condition is None else condition[:rows]
    x = model.sample(min(n, rows), seed=seed, condition=condition).numpy() if x is None else x[:rows]
    return x, condition


def _score_checks(model, x, condition, tolerances):
    def log_prob(rows):
        return model.log_prob(rows, condition=None if condition is None else condition[0])

    yield density_checks.finite("finite log_prob", log_prob, x)
    yield density_checks.rows_independent("rows scored independently", log_prob, x, tolerances.score)


def _flow_checks(model, x, condition, seed, tolerances):
    density, real = _density(model.distribution, x)
    maps = _maps(density, None if condition is None else condition[0])
    names = [
        "round trip x -> z -> x",
        "round trip z -> x -> z",
        "log-det x -> z = autodiff",
        "log-det z -> x = autodiff",
        "log-dets add up to 0",
    ]
    if maps is None:
        yield from (Check.skip(name, "no flow") for name in names)
        return
    to_z, to_x = maps
    real = np.asarray(real).reshape(len(real), -1)
    size = real.shape[1]
    z = np.asarray(to_z(tf.constant(real))[0])
    yield bijector_checks.round_trip(names[0], to_z, to_x, real, tolerances.inverse, scale=real.std(axis=0))
    drawn = np.random.default_rng(seed).normal(size=z.shape).astype(z.dtype)
    yield bijector_checks.round_trip(names[1], to_x, to_z, drawn, tolerances.inverse)
    few = slice(0, max(1, 256 // size))
    for name, function, at in ((names[2], to_z, real), (names[3], to_x, z)):
        if size > _MOST_DIMENSIONS and _loops(function, at):
            yield Check.skip(name, f"{size} dimensions, one after the other; the most is {_MOST_DIMENSIONS}")
        else:
            yield bijector_checks.log_det_against_autodiff(name, function, at[few], tolerances.inverse)
    yield bijector_checks.log_dets_opposite(names[4], to_z, to_x, real, tolerances.inverse)


def _density(distribution, x):
    """The density over the reals, and x as it sees it."""
    if isinstance(distribution, Dequantized):
        return distribution.density, tf.cast(x, distribution.density.dtype) + distribution.noise(x)
    return distribution, x


def _maps(density, condition):
    """`to_z` and `to_x` of a flow as compiled functions of flat rows, under one condition; None where there is no flow."""
    event_shape = tuple(density.event_shape.as_list())
    if isinstance(density, Flow):

        def to_z(x):
            return density.to_base(tf.reshape(x, (-1, *event_shape)), _repeat(condition, x, density.dtype))

        def to_x(z):
            inner = tf.reshape(z, (-1, *(event_shape if density.event_ndims > 1 else (density.event_size,))))
            return forward_and_log_det(density.bijector, inner, _repeat(condition, z, density.dtype), density.event_ndims)

    elif _stock_bijector(density) is not None:
        bijector, ndims = _stock_bijector(density)

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


def _repeat(condition, rows, dtype):
    """One condition for each of the rows; None where there is none."""
    return None if condition is None else tf.repeat(tf.cast(condition, dtype)[None], tf.shape(rows)[0], axis=0)


def _flat(function, rows):
    value, log_det = function(rows)
    return tf.reshape(value, tf.shape(rows)), log_det


def _stock_bijector(density):
    """(bijector, event_ndims) of a wrapped `tfd.TransformedDistribution` that keeps the number of dimensions."""
    inner = density.distribution if isinstance(density, Wrapped) else density
    if isinstance(inner, Distribution) or not hasattr(inner, "bijector"):
        return None
    same = inner.bijector.forward_event_shape(inner.event_shape) == inner.event_shape
    return (inner.bijector, inner.event_shape.rank) if same else None


def _loops(function, rows):
    """Whether a compiled function runs a loop."""
    graph = function.get_concrete_function(tf.constant(rows)).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return any(node.op in ("While", "StatelessWhile") for node in nodes)


def _mass_check(model, condition, seed, tolerances):
    name, size = "total mass", int(np.prod(model.event_shape, dtype=int))
    first = None if condition is None else condition[0]

    def log_prob_of(distribution):
        def log_prob(rows):
            return distribution.log_prob_of_rows(
                tf.reshape(rows, (-1, *model.event_shape)), _repeat(first, rows, model.compute_dtype)
            )

        return tf.function(log_prob, autograph=False, reduce_retracing=True)

    distribution = model.distribution
    if model.levels and not model.is_bound:
        if size * np.log(model.levels) > np.log(_MOST_EVENTS):
            return Check.skip(name, f"{model.levels}^{size} events; a sum goes to {_MOST_EVENTS}")
        return density_checks.total_probability(
            name, log_prob_of(distribution), model.event_shape, model.levels, tolerances.total
        )
    if size > 2:
        return Check.skip(name, f"{size} dimensions; a grid goes to 2")
    density = distribution.density if model.is_bound else distribution
    seeds = tf.constant(np.stack([np.full(4096, seed), np.arange(4096)], axis=1), tf.int32)
    samples = density.from_noise(density.draw_noise(seeds), _repeat(first, seeds, model.compute_dtype))
    samples = np.asarray(samples).reshape(len(seeds), size)
    if not np.issubdtype(samples.dtype, np.floating):
        return Check.skip(name, f"integers without a known range (dtype {samples.dtype})")
    if model.is_bound:
        return density_checks.box_mass(name, log_prob_of(density), samples, 0, model.levels, tolerances.mass)
    return density_checks.total_mass(name, log_prob_of(density), samples, tolerances.mass)


def _network_checks(model, condition, seed, tolerances):
    networks = [layer for layer in model._flatten_layers() if isinstance(layer, AutoregressiveNetwork)]
    condition = None if condition is None else tf.constant(condition[:1], model.compute_dtype)
    kinds = {
        "mask leaks": network_checks.mask_leaks,
        "generate = call": functools.partial(network_checks.generation_equals_call, by_steps=False, tolerance=tolerances.network),
        "step = call": functools.partial(network_checks.generation_equals_call, by_steps=True, tolerance=tolerances.network),
    }
    for name, measure in kinds.items():
        if not networks:
            yield Check.skip(name, "no autoregressive network")
            continue
        checks = [
            measure(name, network, None if network.condition_shape is None else condition, seed=seed) for network in networks
        ]
        worst = max(checks, key=lambda check: np.inf if np.isnan(check.value) else check.value)
        detail = f"{worst.detail}; the worst of {len(checks)} networks" if len(checks) > 1 else worst.detail
        yield dataclasses.replace(worst, detail=detail)


def _sample_checks(model, condition, seed, tolerances):
    n = 8
    given = None if condition is None else np.resize(condition, (n, *model.condition_shape))
    seeds = tf.constant([[seed, i] for i in range(n)], tf.int32)
    rows = None if given is None else tf.constant(given, model.compute_dtype)
    distribution = model.distribution
    eager = distribution.from_noise(distribution.draw_noise(seeds), rows)
    compiled = model.sample(n, seed=seed, condition=given)
    yield artifact_checks.same_sample("same seed, same sample", eager, compiled, 100 * tolerances.score, "eager, compiled")
    longer = model.sample(7 * n, seed=seed, condition=None if given is None else np.resize(given, (7 * n, *given.shape[1:])))
    yield artifact_checks.same_sample("more samples begin alike", compiled, longer[:n], 100 * tolerances.score, "8, 56 samples")
