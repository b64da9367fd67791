import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tfdgm import serving
from tfdgm.distributions import Autoregressive, Dequantized, Distribution, Flow, StandardNormal, Wrapped
from tfdgm.networks import AutoregressiveNetwork
from tfdgm.tasks import (
    artifact_checks,
    autoregressive_checks,
    bijector_checks,
    capabilities,
    density_checks,
    dequantization_checks,
    network_checks,
    sampler_checks,
)
from tfdgm.tasks.check import Check
from tfdgm.tasks.report import Report
from tfdgm.tasks.subject import MOST_DIMENSIONS, Subject, Tolerances, repeat_condition, tolerances_of

_MOST_EVENTS = 1 << 16  # of a sum over all events
_MOST_OF_A_BRIDGE = 8  # dimensions
_XLA_ROWS = 64  # of `model.sample`: one compilation
_NUMBERS = 1 << 15  # of the samples of one statistical test, where rows cost networks


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

    What applies to the model is measured: its scores, its flow, the total mass, the masks of its networks, its noise, its samples
    against its scores, the SavedModel against the model. docs/verification.md says how, at which level, and what is not seen.
    What does not apply, or would take too long, is reported as skipped, with the reason. Statistical checks show -log10 of a
    p-value and fail above 7: a sound model fails one of them once in ten million times. Weights are changed for a moment and put
    back.

    Args:
      model: a `DensityModel`, or the folder of a SavedModel (a version, or versions): then the model that it holds, and this
        SavedModel itself.
      x: rows [n, *event_shape] to measure on, such as test data; by default the model's own samples.
      condition: [n, *condition_shape], or one for all rows, for models that take one; by default standard normal numbers, which
        the report says.
      rows: number of rows of x that are used.
      seed: of the samples and of what else is drawn.
      artifact: whether to export the model to a temporary folder and measure the SavedModel too; or the folder of a SavedModel
        that should be this model's.

    Raises:
      ArtifactError: for a folder that holds no SavedModel, or a damaged one.
    """
    if isinstance(model, (str, os.PathLike)):
        folder = serving.find_saved_model(model)
        model, artifact = serving.load(folder), folder if artifact is True else artifact
    made_up = "; condition: standard normal numbers" if condition is None and model.condition_shape is not None else ""
    x, condition = _rows(model, x, condition, rows, seed)
    doubled = model.distribution.event_size <= MOST_DIMENSIONS and model.compute_dtype != "float64"
    exact = capabilities.rebuilt(model, "float64") if doubled else None
    subject = Subject(model, exact or model, x, condition, seed)
    checks = [
        *_score_checks(subject),
        *_flow_checks(subject),
        *_mass_checks(subject),
        *_network_checks(subject),
        *_noise_checks(subject),
        *_autoregressive_checks(subject),
        *_sample_checks(subject),
        *_artifact_checks(subject, artifact),
    ]
    words = capabilities.WORDS[model.distribution.kind]
    title = f"{type(model).__name__} {tuple(model.event_shape)}, {model.compute_dtype}"
    return Report(checks, f"{title}; log_prob is {words}; {len(x)} rows{made_up}")


def _rows(model, x, condition, rows, seed):
    """Up to `rows` rows (x, condition), made up where they are not given."""
    shape = model.condition_shape
    n = rows
    if x is not None:
        x = model.check_x(x).reshape(-1, *model.event_shape)
        n = len(x)
    elif shape is not None and np.ndim(condition) > len(shape):
        n = len(condition)
    if not n:
        raise ValueError("`x` and `condition` must hold at least one row. Received: 0 rows")
    if shape is not None and condition is None:
        condition = np.random.default_rng(seed).normal(size=(n, *shape))
    condition = model.check_condition(condition, (n,))
    condition = None if condition is None else condition[:rows]
    x = model.sample(min(n, rows), seed=seed, condition=condition).numpy() if x is None else x[:rows]
    return x, condition


def _score_checks(subject):
    model, x, tolerances = subject.model, subject.x, subject.tolerances
    scores = model.log_prob(x, condition=subject.condition)
    yield density_checks.finite("finite log_prob", scores)
    if np.issubdtype(x.dtype, np.floating):
        extreme = x.mean(axis=0, keepdims=True) + 1e3 * (1 + x.std(axis=0, keepdims=True))
    else:
        extreme = np.full_like(x[:1], (subject.distribution.levels or 2) - 1)
    log_prob = subject.score_under_first(subject.distribution)
    yield density_checks.rows_independent("rows scored independently", log_prob, x, extreme, tolerances.score)
    name = "float32 = float64"
    if subject.exact is model:
        yield Check.skip(name, f"the model is {model.compute_dtype}, and all of this report")
    else:
        noise = subject.noise_of_scores(x)
        one, other = (
            subject.method(m.distribution, "log_prob_of_rows")(
                tf.cast(x, m.distribution.dtype), _cast(subject.condition, m), *([] if noise is None else [_cast(noise, m)])
            )
            for m in (model, subject.exact)
        )
        yield density_checks.same_scores(name, one, other, 10 * Tolerances().inverse, "the model, and built in float64")
    yield _weights_check(subject, scores)


def _weights_check(subject, scores):
    """Scores of the same tensor before and after all weights change, against those of a model built anew with such weights."""
    name, model = "scores follow the weights", subject.model
    again = capabilities.rebuilt(model, model.compute_dtype)
    if again is None:
        return Check.skip(name, "no config to build the model anew from")
    x, condition = tf.constant(subject.x, model.distribution.dtype), _cast(subject.condition, model)
    random, weights = np.random.default_rng(subject.seed), [weight.numpy() for weight in model.weights]
    pairs = [(scores, again.distribution.log_prob_of_rows(x, condition))]
    pairs.append((model.distribution.log_prob_of_rows(x, condition), pairs[0][1]))

    def moved(value):
        floating = np.issubdtype(value.dtype, np.floating)
        return value * (1 + 0.1 * random.normal(size=value.shape)) + 0.01 if floating else value

    try:
        capabilities.set_weights(model, [moved(value) for value in weights])
        again = capabilities.rebuilt(model, model.compute_dtype)
        expected = again.distribution.log_prob_of_rows(x, condition)
        pairs.append((model.distribution.log_prob_of_rows(x, condition), expected))
        pairs.append((model.log_prob(subject.x, condition=subject.condition), expected))
    finally:
        capabilities.set_weights(model, weights)
    tolerance = 10 * tolerances_of(model).score
    checks = [
        density_checks.same_scores(name, *pair, tolerance, "before and after they change, and built anew") for pair in pairs
    ]
    return _worst(checks)


def _flow_checks(subject):
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
    yield bijector_checks.round_trip(names[0], to_z, to_x, real, tolerances.inverse, scale=real.std(axis=0))
    drawn = np.random.default_rng(subject.seed).normal(size=z.shape).astype(z.dtype)
    yield bijector_checks.round_trip(names[1], to_x, to_z, drawn, tolerances.inverse)
    few = slice(0, max(1, 256 // size))
    loops = [_loops(function, real) for function in maps]
    for name, function, at, loop in zip(names[2:4], maps, (real, z), loops, strict=True):
        if loop and not all(loops):  # The gradient of a loop takes half a minute to trace.
            yield Check.skip(name, "a loop over dimensions: follows from the other direction, and the sum of both")
        elif size > MOST_DIMENSIONS and loop:
            yield Check.skip(name, f"{size} dimensions, one after the other; the most is {MOST_DIMENSIONS}")
        else:
            yield bijector_checks.log_det_against_autodiff(name, function, at[few], tolerances.log_det)
    yield bijector_checks.log_dets_opposite(names[4], to_z, to_x, real, tolerances.log_det)
    if not isinstance(density, Flow):
        yield from (Check.skip(name, "a stock flow: see `integral, and samples`") for name in names[5:])
        return

    to_base, condition = subject.method(density, "to_base"), subject.conditions(len(real))
    z, log_det = to_base(subject.real, condition)
    parts = subject.method(density.base, "log_prob_of_rows")(z, capabilities.of_base(density, condition)) + log_det
    score = subject.method(density, "log_prob_of_rows")(subject.real, condition)
    yield density_checks.same_scores(names[5], score, parts, tolerances.score, "log_prob, its parts")

    n = 256 if size <= MOST_DIMENSIONS else 64
    noise, condition = density.draw_noise(sampler_checks.seeds_of(subject.seed, n)), subject.conditions(n)
    expected = subject.method(density.base, "from_noise")(noise, capabilities.of_base(density, condition))
    back, _ = to_base(subject.method(density, "from_noise")(noise, condition), condition)
    back, expected = np.asarray(back, np.float64), np.asarray(expected, np.float64)
    error = np.abs(back - expected) / (1 + np.abs(expected))
    detail = f"largest relative difference over {n} rows, each under its own condition" if subject.condition is not None else None
    yield Check(names[6], bijector_checks.worst(error), tolerances.inverse, detail or f"largest relative difference, {n} rows")


def _maps(subject):
    """`to_z` and `to_x` of a flow as compiled functions of flat rows, under one condition; None where there is no flow."""
    density = subject.density
    event_shape = tuple(density.event_shape.as_list())

    def conditions(rows):
        return repeat_condition(subject.first_condition, rows, density.dtype)

    if isinstance(density, Flow):

        def to_z(x):
            return subject.method(density, "to_base")(tf.reshape(x, (-1, *event_shape)), conditions(x))

        def to_x(z):
            return density.from_base_and_log_det(tf.reshape(z, (-1, *density.latent_shape)), conditions(z))

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


def _mass_checks(subject):
    """The total mass, and samples against the density or the mass function: by events, by cells, or by a bridge."""
    names = ["total mass", "samples as often as P(x)", "score below log P(x)", "integral, and samples"]
    distribution, levels = subject.distribution, subject.distribution.levels
    checks = {}
    if levels:
        checks = _event_checks(subject, names)
    if isinstance(distribution, Dequantized) or not levels:
        checks.update(_real_checks(subject, names))
    yield from (checks.get(name) or Check.skip(name, "does not apply to this distribution") for name in names)


def _event_checks(subject, names):
    """Of integers: what can be summed over all events."""
    distribution, size, levels = subject.distribution, subject.size, subject.distribution.levels
    is_exact = distribution.kind == "exact"
    log_events = size * np.log(levels)
    if log_events > np.log(_MOST_EVENTS):
        reason = f"{levels}^{size} events; a sum goes to {_MOST_EVENTS}"
        return {name: Check.skip(name, reason) for name in names[: 2 if is_exact else 3]}
    score, checks = subject.score_under_first(distribution), {}
    events = sampler_checks.events_of(subject.model.event_shape, levels)
    if is_exact:
        log_probs = density_checks.in_chunks(score, events)
        checks[names[0]] = density_checks.total_probability(names[0], log_probs, subject.tolerances.total)
    if len(events) > sampler_checks.MOST_EVENTS:
        reason = f"{levels}^{size} events; {sampler_checks.MOST_EVENTS} are compared"
        return {**checks, names[1]: Check.skip(names[1], reason)}
    counts = sampler_checks.counts_of(subject.draws(distribution, 1 << 14, subject.seed), levels)
    if is_exact:
        checks[names[1]] = sampler_checks.frequencies(names[1], log_probs, counts)
    elif not isinstance(distribution, Dequantized):
        bounds = _mean_scores(subject, events)
        checks[names[2]] = sampler_checks.bound_below_frequencies(names[2], bounds, counts)
    elif size <= 2:
        log_density = functools.partial(density_checks.in_chunks, subject.score_under_first(distribution.density))
        for check in dequantization_checks.cells(distribution, log_density, _scorer(subject), counts, subject.seed):
            checks[check.name] = check
    return checks


def _scorer(subject):
    """(rows, seed) -> log_prob with new scoring noise."""

    def log_score(rows, seed):
        rows = subject.cast(rows)
        noise = subject.distribution.scoring_noise(sampler_checks.seeds_of(seed, len(rows)))
        condition = repeat_condition(subject.first_condition, rows, subject.exact.compute_dtype)
        return subject.method(subject.distribution, "log_prob_of_rows")(rows, condition, noise)

    return log_score


def _mean_scores(subject, events):
    """A bound's mean over 64 draws of its noise, less six standard errors; a lower bound itself where it draws none."""
    if subject.distribution.kind == "lower bound":
        return density_checks.in_chunks(subject.score_under_first(subject.distribution), events)
    draws = np.stack([np.asarray(_scorer(subject)(events, subject.seed + k), np.float64) for k in range(64)])
    return draws.mean(axis=0) - 6 * draws.std(axis=0, ddof=1) / 8


def _real_checks(subject, names):
    """Of reals: a grid in one and two dimensions, a bridge in up to eight."""
    density, size, is_dequantized = subject.density, subject.size, isinstance(subject.distribution, Dequantized)
    mass, bridge = names[0], names[3]
    checks = {}
    if size > 2:
        checks[mass] = Check.skip(mass, f"{size} dimensions; a grid goes to 2")
    if size > _MOST_OF_A_BRIDGE:
        checks[bridge] = Check.skip(bridge, f"{size} dimensions; a mixture is fitted to {_MOST_OF_A_BRIDGE}")
        return checks
    if not density.dtype.is_floating:
        return {name: Check.skip(name, f"integers without a known range (dtype {density.dtype.name})") for name in (mass, bridge)}
    support = capabilities.unconstrained(density)
    if support is None:
        return {name: Check.skip(name, "a support that TFP does not know") for name in (mass, bridge)}
    to_reals, log_prob = support
    samples = np.asarray(to_reals(subject.draws(density, 1 << 15, subject.seed + 1)))

    log_prob_of_rows = subject.score_under_first(density) if log_prob is None else log_prob
    at_most = density.kind != "exact"
    if not samples.shape[1] or not np.isfinite(samples).all():
        return {name: Check.skip(name, "samples on the boundary of the support") for name in (mass, bridge)}
    if size <= 2 and is_dequantized:
        levels, few = subject.distribution.levels, samples[:4096]
        checks[mass] = density_checks.box_mass(mass, log_prob_of_rows, few, 0, levels, subject.tolerances.mass)
    elif samples.shape[1] <= 2:
        tolerance = subject.tolerances.mass
        checks[mass] = density_checks.total_mass(mass, log_prob_of_rows, samples[:4096], tolerance, at_most=at_most)
    if at_most:
        checks[bridge] = Check.skip(bridge, "log_prob is no density, but a bound")
    else:
        checks[bridge] = sampler_checks.bridge(bridge, log_prob_of_rows, samples, subject.seed)
    return checks


def _network_checks(subject):
    networks = [layer for layer in subject.exact._flatten_layers() if isinstance(layer, AutoregressiveNetwork)]
    own = [n for n in networks if getattr(n.generate, "__func__", None) is not AutoregressiveNetwork.generate]
    generation_equals_call = functools.partial(network_checks.generation_equals_call, tolerance=subject.tolerances.network)
    small = subject.size <= MOST_DIMENSIONS
    mask_leaks = functools.partial(network_checks.mask_leaks, rows=8) if small else network_checks.cut_leaks
    kinds = [
        ("mask leaks", networks, mask_leaks),
        ("generate = call", own, functools.partial(generation_equals_call, by_steps=False)),
        ("step = call", networks, functools.partial(generation_equals_call, by_steps=True)),
    ]
    condition = None if subject.condition is None else tf.constant(subject.condition[:1], subject.exact.compute_dtype)
    for name, measured, measure in kinds:
        if not measured:
            yield Check.skip(name, "all networks generate by steps" if networks else "no autoregressive network")
            continue
        given = [None if network.condition_shape is None else condition for network in measured]
        checks = [measure(name, network, c, seed=subject.seed) for network, c in zip(measured, given, strict=True)]
        yield _worst(checks, "networks")


def _noise_checks(subject):
    """The noise of samples and of scores, the base by itself, and samples as far as noise makes them."""
    distribution, source, seed = subject.distribution, subject.source, subject.seed
    seeds = sampler_checks.seeds_of(seed, min(1 << 14, max(1 << 10, (1 << 20) // subject.size)))
    names = ["noise of samples", "noise of scores", "score = density at x + u", "samples = floors of the density's"]
    law = sampler_checks.law_of_noise(source)
    if law:
        yield sampler_checks.noise_law(names[0], distribution.draw_noise(seeds), law)
    else:
        yield Check.skip(names[0], f"the law of its noise is {type(source).__name__}'s own")
    if isinstance(distribution, Dequantized):
        x = subject.cast(np.resize(subject.x, (len(seeds), *subject.x.shape[1:])))
        yield sampler_checks.noise_law(names[1], distribution.scoring_noise(seeds), "uniform")
        n = len(subject.x)
        noise, condition = subject.noise_of_scores(subject.x), subject.conditions(n)
        score = subject.method(distribution, "log_prob_of_rows")(subject.cast(subject.x), condition, noise)
        expected = subject.method(distribution.density, "log_prob_of_rows")(subject.real, condition)
        yield density_checks.same_scores(names[2], score, expected, subject.tolerances.score, "log_prob, density's")
        noise, condition = distribution.draw_noise(sampler_checks.seeds_of(seed, 256)), subject.conditions(256)
        x, real = (subject.method(d, "from_noise")(noise, condition) for d in (distribution, distribution.density))
        yield dequantization_checks.samples_are_floors(names[3], x, real, distribution.levels, subject.tolerances.ties)
    else:
        yield from (Check.skip(name, "no dequantization") for name in names[1:])
    names = ["base = SciPy's normal", "samples come from the normal"]
    if isinstance(source, StandardNormal):
        z = source.draw_noise(sampler_checks.seeds_of(seed + 1, 256))
        yield sampler_checks.standard_normal_score(names[0], source, z, subject.tolerances.score)
        x, condition = _samples(subject, _rows_of_a_test(subject))
        yield sampler_checks.base_of_samples(names[1], _source_of(subject, x, condition))
    else:
        yield from (Check.skip(name, f"the base is {type(source).__name__}") for name in names)


def _rows_of_a_test(subject):
    return min(1 << 14, max(64, _NUMBERS // subject.size))


def _samples(subject, n):
    """(n samples of the density, their conditions): of the model's own, by `model.sample` and by TFP's `sample`."""
    density, condition = subject.density, subject.conditions(n)
    if density is not subject.distribution:
        noise = density.draw_noise(sampler_checks.seeds_of(subject.seed + 2, n))
        return subject.method(density, "from_noise")(noise, condition), condition
    # In calls of one size, for XLA compiles anew for every size. TFP's runs op by op, which takes long in many dimensions.
    own = min(n, 16 * _XLA_ROWS) if subject.size <= _MOST_OF_A_BRIDGE else n
    parts = [slice(start, min(start + _XLA_ROWS, own)) for start in range(0, own, _XLA_ROWS)]
    given = [{} if condition is None else {"condition": condition[part]} for part in [*parts, slice(own, n)]]
    x = [subject.model.sample(part.stop - part.start, seed=subject.seed + 3 + i, **given[i]) for i, part in enumerate(parts)]
    x = tf.cast(tf.concat(x, axis=0), density.dtype)
    if own < n:
        x = tf.concat([x, density.sample(n - own, seed=subject.seed + 2, **given[-1])], axis=0)
    return x, condition


def _source_of(subject, x, condition):
    """What a flow carries rows x to; x itself without a flow."""
    return subject.method(subject.density, "to_base")(x, condition)[0] if isinstance(subject.density, Flow) else x


def _autoregressive_checks(subject):
    names = [
        "draws = those of call",
        "log_prob = sum of positions",
        "samples as their positions say",
        "family: draws follow log_prob",
        "family: mass",
    ]
    source, tolerances, seed = subject.source, subject.tolerances, subject.seed
    if not isinstance(source, Autoregressive):
        yield from (Check.skip(name, "no autoregressive distribution") for name in names)
        return

    def of_source(condition):
        return capabilities.of_base(subject.density, condition) if source is not subject.density else condition

    n = 256 if subject.size <= MOST_DIMENSIONS else 64
    noise = source.draw_noise(sampler_checks.seeds_of(seed, n))
    condition = of_source(subject.conditions(n))
    x = subject.method(source, "from_noise")(noise, condition)
    again = autoregressive_checks.draws_of_call(source, x, condition, noise)
    yield autoregressive_checks.draws_follow_call(names[0], x, again, tolerances.inverse, tolerances.ties)
    family = source.family
    n = autoregressive_checks.rows_for_residuals(_rows_of_a_test(subject), subject.size, family.levels)
    x, condition = _samples(subject, n)
    x, condition = _source_of(subject, x, condition), of_source(condition)
    params, has_ended = autoregressive_checks.params_of_call(source, x, condition), source.likelihood.has_ended(x)
    of_positions = family.log_prob(params, tf.cast(x, params.dtype), source.likelihood.positions)
    of_positions = tf.reshape(tf.where(has_ended, tf.zeros_like(of_positions), of_positions), (n, -1))
    score = subject.method(source, "log_prob_of_rows")(x, condition)
    parts = tf.reduce_sum(of_positions, axis=1)
    yield density_checks.same_scores(names[1], score, parts, tolerances.score, "log_prob, family's at parameters of call")
    params, x = tf.reshape(params, (n, subject.size, -1)), np.asarray(x).reshape(n, subject.size)
    has_ended = np.reshape(has_ended, x.shape)
    yield autoregressive_checks.samples_follow_score(names[2], family, params, x, seed, has_ended)
    some = np.random.default_rng(seed).permutation(x.size)[:1024]
    params, x = tf.gather(tf.reshape(params, (x.size, -1)), some), x.ravel()[some]
    yield autoregressive_checks.family_draws(names[3], family, params, seed)
    yield autoregressive_checks.family_mass(names[4], family, params, x, tolerances.total)


def _sample_checks(subject):
    """The same seed, compiled and not, few samples and many; of the model as it is."""
    model, n = subject.model, _XLA_ROWS // 2 + 8
    given = subject.conditions(_XLA_ROWS)
    given = None if given is None else given.numpy()
    seeds = tf.constant([[subject.seed, i] for i in range(n)], tf.int32)
    distribution, tolerance = model.distribution, 100 * tolerances_of(model).score
    few = None if given is None else given[:n]
    eager = subject.method(distribution, "from_noise")(distribution.draw_noise(seeds), _cast(few, model))
    compiled = model.sample(n, seed=subject.seed, condition=few)
    yield artifact_checks.same_sample("same seed, same sample", eager, compiled, tolerance, "distribution, model.sample")
    longer = model.sample(_XLA_ROWS, seed=subject.seed, condition=given)
    yield artifact_checks.same_sample("more samples begin alike", compiled, longer[:n], tolerance, f"{n}, {_XLA_ROWS} samples")


def _artifact_checks(subject, artifact):
    if artifact is False:
        return
    model, x, condition = subject.model, subject.x, subject.condition

    def score(m):
        return subject.method(m.distribution, "log_prob_of_rows")(tf.cast(x, m.distribution.dtype), _cast(condition, m))

    with tempfile.TemporaryDirectory() as folder:
        if artifact is True:
            path = pathlib.Path(folder) / "1"
            model.export(path)
        else:
            path = serving.find_saved_model(artifact)
        yield from artifact_checks.saved_model(model, x, condition, path, tolerances_of(model).score)
        yield artifact_checks.loaded_back(score, model, path)


def _cast(values, model):
    return None if values is None else tf.cast(values, model.compute_dtype)


def _worst(checks, of="measurements"):
    """The check that deviates most, and how many there were."""
    worst = max(checks, key=lambda check: np.inf if np.isnan(check.value) else check.value)
    detail = f"{worst.detail}; the worst of {len(checks)} {of}" if len(checks) > 1 else worst.detail
    return dataclasses.replace(worst, detail=detail)
