"""What a report measures: the model, rows for it, and the model in float64."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

import tfdgm.models  # Registers the classes that an artifact names, too.
from tfdgm.tasks import sampler_checks

#: Dimensions of float64, of each input moved by itself, and of a Jacobian, whose memory grows with their cube.
MOST_DIMENSIONS = 128


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
        """What a flow's z comes from, or the density itself."""
        return self.distribution.source

    @property
    def is_dequantized(self):
        return self.density is not self.distribution

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

    def cast(self, x):
        return tf.cast(x, self.distribution.dtype)

    def noise_of_scores(self, x):
        if self.distribution.kind != "estimate":
            return None
        return self.distribution.scoring_noise(sampler_checks.seeds_of(self.seed, len(x)))

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
            function = self._functions[key] = tf.function(getattr(owner, name), autograph=False)
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
        noise = distribution.draw_noise(sampler_checks.seeds_of(seed, n))
        condition = repeat_condition(self.first_condition, noise, self.exact.compute_dtype)
        return self.method(distribution, "from_noise")(noise, condition)


def tolerances_of(model):
    """What rounding may do in the model's dtype."""
    return _TOLERANCES.get(model.compute_dtype, Tolerances())


def _any_number_of_rows(value):
    return None if value is None else tf.TensorSpec((None, *value.shape[1:]), value.dtype)


def repeat_condition(condition, rows, dtype):
    """One condition for each of the rows; None where there is none."""
    return None if condition is None else tf.repeat(tf.cast(condition, dtype)[None], tf.shape(rows)[0], axis=0)
