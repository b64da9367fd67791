"""What a report measures: the model, rows for it, and the model in float64."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

import tfdgm.models  # Registers the classes that an artifact names, too.
from tfdgm.traced import traced

#: Dimensions of float64, of each input moved by itself, and of a Jacobian, whose memory grows with their cube.
MOST_DIMENSIONS = 128
#: Dimensions of a mixture that is fitted to samples.
MOST_OF_A_BRIDGE = 8
#: Rows of `model.sample`: one compilation.
XLA_ROWS = 64
_NUMBERS = 1 << 15  # of the samples of one statistical test, where rows cost networks


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """What rounding may do. Most is measured in float64, where a wrong formula has nowhere to hide.

    A float32 flow rounds each value to 6e-8 of itself. A layer may then scale it by up to exp(7) = 1e3, and layers add up, so a
    few of the 7 digits are left: 1e-3. The SavedModel and the model compute the same sums, in another order: 1e-5 of |log p|.
    """

    inverse: float = 1e-3
    log_det: float = 1e-4
    network: float = 1e-4
    score: float = 1e-5
    mass: float = 1e-3  # of the grid as well as of the arithmetic
    total: float = 1e-4
    ties: int = 2  # rows of a draw where rounding chooses


_FLOAT64 = Tolerances(inverse=1e-8, log_det=1e-8, network=1e-10, score=1e-8, total=1e-8, ties=0)
_TOLERANCES = {"float32": Tolerances(), "float64": _FLOAT64}


@dataclasses.dataclass
class Subject:
    """The model that is measured, the rows to measure it on, and the same model in float64 (or itself), which bears the rest."""

    model: tfdgm.models.DensityModel
    exact: tfdgm.models.DensityModel
    x: np.ndarray
    condition: np.ndarray | None
    seed: int

    @property
    def distribution(self):
        return self.exact.distribution

    @property
    def density(self):
        """What is over the reals, or the distribution itself."""
        return self.distribution.density

    @property
    def source(self):
        """The base of a flow, or the density itself."""
        return self.distribution.source

    @property
    def is_dequantized(self):
        return self.density is not self.distribution

    @property
    def is_flow(self):
        return self.source is not self.density

    @property
    def tolerances(self):
        return tolerances_of(self.exact)

    @property
    def size(self):
        return self.distribution.event_size

    @property
    def first_condition(self):
        return None if self.condition is None else self.condition[0]

    def conditions(self, n):
        """n conditions, not all equal; None where the model takes none."""
        if self.condition is None:
            return None
        conditions = np.resize(self.condition, (n, *self.condition.shape[1:]))
        if (conditions == conditions[0]).all():
            conditions[1::2] += np.random.default_rng(self.seed).normal(size=conditions[1::2].shape)
        return tf.constant(conditions, self.exact.compute_dtype)

    def conditions_of_source(self, conditions):
        """Conditions as a flow hands them to its base; themselves without a flow."""
        return None if self.source.condition_shape is None else conditions

    def cast(self, x):
        return tf.cast(x, self.distribution.dtype)

    def noise_of_scores(self, x):
        if self.distribution.kind != "estimate":
            return None
        return self.distribution.scoring_noise(seeds_of(self.seed, len(x)))

    @functools.cached_property
    def real(self):
        """The rows as the density sees them, under one fixed noise."""
        noise = self.noise_of_scores(self.x) if self.is_dequantized else None
        return self.cast(self.x) if noise is None else tf.cast(self.x, noise.dtype) + noise

    @functools.cached_property
    def _functions(self):
        return {}

    def method(self, owner, name):
        """The method of that name: op by op, which takes less than tracing it, but in many dimensions; then compiled once."""
        if self.size <= MOST_DIMENSIONS:
            return getattr(owner, name)
        return functools.partial(self._compiled, owner, name)

    def _compiled(self, owner, name, *args):
        key = id(owner), name
        if key not in self._functions:
            function = self._functions[key] = traced(getattr(owner, name))
            function.get_concrete_function(*tf.nest.map_structure(_any_number_of_rows, args))  # One trace for all.
        return self._functions[key](*args)

    def score_under_first(self, distribution):
        """log_prob of a distribution as a function of rows, under the first condition."""

        def log_prob(rows):
            rows = tf.reshape(tf.cast(rows, distribution.dtype), (-1, *self.model.event_shape))
            condition = repeat_condition(self.first_condition, rows, self.exact.compute_dtype)
            return self.method(distribution, "log_prob_of_rows")(rows, condition)

        return log_prob

    def draws(self, distribution, n, seed):
        """n samples of a distribution under the first condition."""
        noise = distribution.draw_noise(seeds_of(seed, n))
        condition = repeat_condition(self.first_condition, noise, self.exact.compute_dtype)
        return self.method(distribution, "from_noise")(noise, condition)

    @property
    def rows_of_a_test(self):
        """How many samples a statistical test takes, where rows cost networks."""
        return min(1 << 14, max(64, _NUMBERS // self.size))

    def samples(self, n):
        """(n samples of the density, their conditions): of the model's own, by `model.sample` and by TFP's `sample`."""
        density, condition = self.density, self.conditions(n)
        if self.is_dequantized:
            noise = density.draw_noise(seeds_of(self.seed + 2, n))
            return self.method(density, "from_noise")(noise, condition), condition
        # In calls of one size, for XLA compiles anew for every size. TFP's runs op by op, which takes long in many dimensions.
        own = min(n, 16 * XLA_ROWS) if self.size <= MOST_OF_A_BRIDGE else n
        parts = [slice(start, min(start + XLA_ROWS, own)) for start in range(0, own, XLA_ROWS)]
        given = [{} if condition is None else {"condition": condition[part]} for part in [*parts, slice(own, n)]]
        x = [self.model.sample(part.stop - part.start, seed=self.seed + 3 + i, **given[i]) for i, part in enumerate(parts)]
        x = tf.cast(tf.concat(x, axis=0), density.dtype)
        if own < n:
            x = tf.concat([x, density.sample(n - own, seed=self.seed + 2, **given[-1])], axis=0)
        return x, condition

    def to_source(self, x, conditions):
        """What a flow carries rows x to; x itself without a flow."""
        return self.method(self.density, "to_base")(x, conditions)[0] if self.is_flow else x

    def scores_by(self, model, *noise):
        """The rows' scores by the model, or by another like it, in that model's dtype."""
        x, condition = tf.cast(self.x, model.distribution.dtype), cast(self.condition, model)
        return self.method(model.distribution, "log_prob_of_rows")(x, condition, *(cast(u, model) for u in noise))


def tolerances_of(model):
    """What rounding may do in the model's dtype."""
    return _TOLERANCES.get(model.compute_dtype, Tolerances())


def _any_number_of_rows(value):
    return None if value is None else tf.TensorSpec((None, *value.shape[1:]), value.dtype)


def repeat_condition(condition, rows, dtype):
    """One condition for each of the rows; None where there is none."""
    return None if condition is None else tf.repeat(tf.cast(condition, dtype)[None], tf.shape(rows)[0], axis=0)


def cast(values, model):
    """Values in the dtype that a model computes in; None stays."""
    return None if values is None else tf.cast(values, model.compute_dtype)


def seeds_of(seed, n):
    """n different seeds: half of them differ in the second number, half in the first."""
    i = np.arange(n)
    return tf.constant(
        np.where(i[:, None] < n // 2, np.stack([0 * i + seed, i], 1), np.stack([seed + 1 + i, 0 * i], 1)), tf.int32
    )


def rebuilt(model, dtype):
    """A second model of that dtype, built from `model`'s config with its weights; None where a config does not tell all."""
    try:
        config = model.get_config()
    except NotImplementedError:
        return None
    if "dtype" not in config:
        return None
    other = type(model).from_config({**config, "dtype": dtype})
    other.use_xla = False
    set_weights(other, [weight.numpy() for weight in model.weights])
    return other


def set_weights(model, values):
    """Assigns arrays to all weights, in their own dtypes."""
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(tf.cast(value, weight.dtype))
