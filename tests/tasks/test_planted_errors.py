"""Errors of published libraries and of our own fears, planted into classes: `verify` must see each, in 2 and in 6 dimensions."""

import numpy as np
import pytest
import tensorflow as tf
from contracts.weights import randomize

import tfdgm
from tfdgm import bijectors, distributions, elementwise, families, models, networks

pytestmark = pytest.mark.usefixtures("eagerly")

SMALL = {"hidden_units": (8, 8), "dtype": "float64"}
COUPLINGS = {**SMALL, "num_layers": 2, "activation": "tanh"}


def made(size, **changes):
    return models.MADE((size,), **{**SMALL, "levels": 3, **changes})


def flow(size, cls=models.RealNVP, **changes):
    return cls((size,), **{**COUPLINGS, **changes})


def mixture(size, **changes):
    return models.GaussianMixture((size,), num_components=2, dtype="float64", **changes)


def rows(model, seed=0):
    """Something to adapt to and to score, and conditions for it."""
    random = np.random.default_rng(seed)
    shape = (48, *model.event_shape)
    x = random.integers(0, model.levels, shape) if model.levels else random.normal(size=shape) * 2 + 1
    return x, None if model.condition_shape is None else random.normal(size=(48, *model.condition_shape))


def wrap(monkeypatch, owner, name, change):
    """Puts `change(original, self, *args)` in the place of a method of a class."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda self, *args, **kwargs: change(original, self, *args, **kwargs))


def added(amount):
    """To a score."""
    return lambda f, self, *args, **kwargs: f(self, *args, **kwargs) + amount


def log_det_plus(amount):
    def change(f, self, value, condition=None):
        value, log_det = f(self, value, condition)
        return value, log_det + amount

    return change


def off_both_ways(amount):
    def plant(monkeypatch):
        wrap(monkeypatch, bijectors.ActNorm, "forward_and_log_det", log_det_plus(amount))
        wrap(monkeypatch, bijectors.ActNorm, "inverse_and_log_det", log_det_plus(-amount))

    return plant


def on(owner, name, change):
    return lambda monkeypatch: wrap(monkeypatch, owner, name, change)


def wrong_sign(f, self, value, condition=None):
    value, log_det = f(self, value, condition)
    return value, -log_det


def wrong_sign_both_ways(monkeypatch):
    for name in ("forward_and_log_det", "inverse_and_log_det"):
        wrap(monkeypatch, bijectors.Coupling, name, wrong_sign)


def coupling_misses_a_dimension(monkeypatch):
    def missing(f, self, params, value):
        moved, log_det = f(self, params, value)
        return moved, tf.concat([log_det[:, :-1], tf.zeros_like(log_det[:, -1:])], axis=1)

    wrap(monkeypatch, elementwise.Affine, "forward", missing)
    wrap(monkeypatch, elementwise.Affine, "inverse", missing)


def forward_scaled(f, self, z, condition=None):
    x, log_det = f(self, z, condition)
    return 1.001 * x, log_det


def stale_mean(monkeypatch):
    def remember(f, self, b, s):
        self.remembered = tf.constant(b)
        return f(self, b, s)

    def scored(f, self, x, condition=None):
        b, s = self.shift_and_log_scale.values()
        mean = getattr(self, "remembered", b)
        return (x - mean) * tf.exp(-s), tf.fill(tf.shape(x)[:-1], -tf.reduce_sum(s))

    wrap(monkeypatch, bijectors.ActNorm, "_assign", remember)
    wrap(monkeypatch, bijectors.ActNorm, "inverse_and_log_det", scored)


def statistics_of_the_batch(f, self, x, condition=None, noise=None):
    return f(self, x, condition, noise) + 1e-3 * tf.tanh(tf.reduce_mean(tf.cast(x, tf.float64)))


def leak(f, self, x, *args, **kwargs):
    params = f(self, x, *args, **kwargs)
    first = tf.one_hot(int(self.order[0]), self.event_size, dtype=params.dtype)
    last = tf.reshape(x, (-1, self.event_size))[:, int(self.order[-1])]
    return params + 1e-6 * tf.reshape(first, (*self.event_shape, 1)) * tf.reshape(last, (-1, *[1] * (params.shape.rank - 1)))


def scaled_noise(f, self, noise, *args):
    return f(self, 0.95 * noise, *args)


def scaled_draw(f, self, seeds):
    return 0.95 * f(self, seeds)


def another_temperature(f, self, params, *args):
    return f(self, params / 0.9, *args)


def sampled_at_another_temperature(monkeypatch):
    """In the distribution, not in its family."""

    def change(f, self, *args):
        family, colder = self.family, type(self.family).__new__(type(self.family))
        colder.__dict__.update(family.__dict__)
        colder.sample = lambda params, *given: family.sample(params / 0.9, *given)
        self.likelihood.family = colder
        try:
            return f(self, *args)
        finally:
            self.likelihood.family = family

    wrap(monkeypatch, distributions.Autoregressive, "from_noise", change)


def shifted(amount):
    return lambda f, self, *args, **kwargs: f(self, *args, **kwargs) + amount


def next_level(f, self, *args, **kwargs):
    return (f(self, *args, **kwargs) + 1) % self.levels


def zero(f, self, *args, **kwargs):
    return tf.zeros_like(f(self, *args, **kwargs))


def same_for_all_seeds(f, self, seeds):
    return f(self, tf.zeros_like(seeds))


def same_in_all_dimensions(f, self, seeds):
    noise = f(self, seeds)
    return tf.zeros_like(noise) + noise[:, :1]


def params_shifted_on_the_way(monkeypatch):
    generate = networks.MADE.generate

    def change(self, emit, *args, **kwargs):
        def shifted_emit(position, params, inputs):
            away = tf.cast(tf.equal(position, 1), params.dtype)[..., None]
            return emit(position, params + 0.1 * away * tf.range(params.shape[-1], dtype=params.dtype), inputs)

        return generate(self, emit if kwargs.get("output_shapes") else shifted_emit, *args, **kwargs)

    monkeypatch.setattr(networks.MADE, "generate", change)


def rounded(f, self, noise, condition=None):
    x = tf.round(self.density.from_noise(noise, condition))
    return tf.cast(tf.clip_by_value(x, 0, self.levels - 1), self.dtype)


def half_the_interval(monkeypatch):
    for name in ("scoring_noise", "training_noise", "noise"):
        if hasattr(distributions.Dequantized, name):
            wrap(monkeypatch, distributions.Dequantized, name, lambda f, self, *args, **kwargs: 0.5 * f(self, *args, **kwargs))


def ignores_its_condition(f, self, noise, condition=None):
    return f(self, noise, None if condition is None else tf.zeros_like(condition))


#: name: (the model of that many dimensions, what is planted, checks that must fail)
AUTODIFF = "log-det x -> z = autodiff"
ERRORS = {
    "wrong sign of a log-det": (flow, on(bijectors.Coupling, "inverse_and_log_det", wrong_sign), AUTODIFF),
    "wrong sign of a log-det, both ways": (flow, wrong_sign_both_ways, AUTODIFF),
    "log-det off by 0.1 both ways": (flow, off_both_ways(0.1), AUTODIFF),
    "log-det off by 0.01 both ways": (flow, off_both_ways(0.01), AUTODIFF),
    "log-det off by 0.001 both ways": (flow, off_both_ways(0.001), AUTODIFF),
    "log-det off by 0.001, float32": (lambda size: flow(size, dtype="float32"), off_both_ways(0.001), AUTODIFF),
    "a coupling misses a dimension": (flow, coupling_misses_a_dimension, AUTODIFF),
    "a flow's score": (flow, on(distributions.Flow, "log_prob_of_rows", added(0.05)), "log_prob = base + log-det"),
    "a base off by 0.05": (
        flow,
        on(distributions.StandardNormal, "log_prob_of_rows", added(0.05)),
        "base = SciPy's normal",
    ),
    "a mixture off by 0.05": (
        mixture,
        lambda patch: wrap(patch, type(mixture(2).distribution.base), "log_prob_of_rows", added(0.05)),
        "integral, and samples",
    ),
    "a mixture's conditionals off by 0.05 in all": (
        lambda size: made(size, levels=None),
        lambda patch: wrap(patch, families.MixtureOfNormals, "log_prob", added(0.05 / 6)),
        "family: mass",
    ),
    "a family off by 0.05 over 2^20 events": (
        lambda size: made(20 if size == 6 else 2, levels=2),
        on(families.Bernoulli, "log_prob", added(0.05 / 20)),
        "family: mass",
    ),
    "forward off by 1e-3": (flow, on(bijectors.Coupling, "forward_and_log_det", forward_scaled), "round trip x -> z -> x"),
    "a score with a stale mean": (flow, stale_mean, "scores follow the weights"),
    "statistics of the batch": (
        flow,
        on(distributions.Flow, "log_prob_of_rows", statistics_of_the_batch),
        "rows scored independently",
    ),
    "statistics of the batch, integers": (
        made,
        on(distributions.Autoregressive, "log_prob_of_rows", statistics_of_the_batch),
        "rows scored independently",
    ),
    "a leak of 1e-6": (lambda size: flow(size, models.MAF), on(networks.MADE, "call", leak), "mask leaks"),
    "a leak of 1e-6, integers": (made, on(networks.MADE, "call", leak), "mask leaks"),
    "a flow's sampler at temperature 0.95": (
        flow,
        on(distributions.Flow, "from_noise", scaled_noise),
        "z of a sample = its noise",
    ),
    "a base's noise at temperature 0.95": (
        flow,
        on(distributions.StandardNormal, "draw_noise", scaled_draw),
        "samples come from the normal",
    ),
    "a family's sampler at another temperature": (
        made,
        on(families.Categorical, "sample", another_temperature),
        "family: draws follow log_prob",
    ),
    "a sampler at another temperature": (made, sampled_at_another_temperature, "draws = those of call"),
    "samples shifted": (flow, on(distributions.Flow, "from_noise", shifted(0.1)), "z of a sample = its noise"),
    "samples of a mixture shifted": (
        mixture,
        lambda patch: wrap(patch, type(mixture(2).distribution.base), "from_noise", shifted(0.5)),
        "integral, and samples",
    ),
    "integer samples shifted": (
        made,
        on(distributions.Autoregressive, "from_noise", next_level),
        "samples as their positions say",
    ),
    "a sampler that is always 0": (flow, on(distributions.Flow, "from_noise", zero), "samples come from the normal"),
    "a sampler of integers that is always 0": (
        made,
        on(distributions.Autoregressive, "from_noise", zero),
        "samples as their positions say",
    ),
    "noise that ignores seeds": (
        flow,
        on(distributions.StandardNormal, "draw_noise", same_for_all_seeds),
        "noise of samples",
    ),
    "uniform numbers that ignore seeds": (
        made,
        on(distributions.Autoregressive, "draw_noise", same_for_all_seeds),
        "noise of samples",
    ),
    "noise that is the same in all dimensions": (
        flow,
        on(distributions.StandardNormal, "draw_noise", same_in_all_dimensions),
        "noise of samples",
    ),
    "uniform numbers that are the same in all dimensions": (
        made,
        on(distributions.Autoregressive, "draw_noise", same_in_all_dimensions),
        "noise of samples",
    ),
    "a mixture's noise that is the same in all dimensions": (
        mixture,
        lambda patch: wrap(patch, type(mixture(2).distribution.base), "draw_noise", same_in_all_dimensions),
        "integral, and samples",
    ),
    "one position's parameters shifted": (made, params_shifted_on_the_way, "draws = those of call"),
    "one position's parameters shifted, reals": (
        lambda size: made(size, levels=None),
        params_shifted_on_the_way,
        "draws = those of call",
    ),
    "integer samples rounded": (
        lambda size: flow(size, levels=4),
        on(distributions.Dequantized, "from_noise", rounded),
        "samples = floors of the density's",
    ),
    "dequantization in half the interval": (lambda size: flow(size, levels=4), half_the_interval, "noise of scores"),
    "a flow's sampler that ignores its condition": (
        lambda size: flow(size, condition_shape=(2,)),
        on(distributions.Flow, "from_noise", ignores_its_condition),
        "z of a sample = its noise",
    ),
    "a sampler that ignores its condition": (
        lambda size: made(size, condition_shape=(2,)),
        on(distributions.Autoregressive, "from_noise", ignores_its_condition),
        "draws = those of call",
    ),
    "a bound above the exact value": (
        lambda size: flow(size, levels=4),
        on(distributions.Dequantized, "log_prob_of_rows", added(0.5)),
        "score = density at x + u",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 6])
@pytest.mark.parametrize("name", ERRORS)
def test_planted_errors_are_seen(name, size, monkeypatch):
    make, plant, check = ERRORS[name]
    plant(monkeypatch)
    model = make(size)
    model.use_xla = False
    x, condition = rows(model)
    model.adapt(x, condition)
    if isinstance(model, models.MADE):
        randomize(model, 3, scale=2)  # Else all is nearly equally likely, at any temperature.
    report = tfdgm.verify(model, x, condition=condition, artifact=False)
    failed = [check.name for check in report.checks if check.passed is False]
    assert check in failed, str(report)
