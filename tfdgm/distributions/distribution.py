import abc
import inspect
import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

from tfdgm._keras_compat import layers_of, parts_of
from tfdgm.distributions.known_entries import known_entries
from tfdgm.distributions.moments import Moments
from tfdgm.distributions.noise import derived_seeds
from tfdgm.distributions.some_rows import by_weight, some_rows
from tfdgm.event import Event
from tfdgm.frozen_random import FrozenRandom
from tfdgm.keras_weights import KerasWeights
from tfdgm.networks import AutoregressiveNetwork


class Distribution(Moments, KerasWeights, tfd.Distribution, abc.ABC):
    """A `tfd.Distribution` over events of one shape, evaluated on rows; works wherever TFP takes a distribution.

    `log_prob(x, condition=None, num_samples=1, known=None)`: x [*batch, *event_shape] -> [*batch], nats; -infinity outside the
    support, and where the numbers of the dtype end. `sample(sample_shape, seed, condition=None)`. A condition that it
    does not take is an error; one that it takes broadcasts to [*batch, *condition_shape], or [*sample_shape, *condition_shape].

    A subclass writes hooks on one batch axis: `_log_prob_of_rows`, `draw_noise` and `_from_noise`, and where it applies `_adapt`
    and `scoring_noise`. Noise is drawn apart from its use: drawn outside XLA and used inside, it is the same noise everywhere,
    stock TFP samplers included.

    What it is made of, it declares, and tasks ask for no more: `density`, `source`, `networks`, `bijector`, `is_autoregressive`,
    `noise_law`, `is_standard_normal`. Where a default here is wrong, a subclass says otherwise.

    Args:
      event: what one x is, an `Event`.
      dtype: of real numbers; integers are int32.
      condition_shape: shape of one condition c in p(x|c), or None.
      is_reparameterized: whether a sample is differentiable in the parameters, so that gradients of expectations go through it.
      condition_scaling: a `layers.Standardize` for `standardized`, by which a network gets conditions; or None.
    """

    #: What log_prob is: "exact"; "lower bound", on log p(x); "estimate", one random draw whose mean is a lower bound.
    kind = "exact"
    #: Whether it has a `network` and a `family`, which give p(x_t | x_<t), and so `log_prob_of_positions`.
    is_autoregressive = False
    #: Of what is its own `source`: "normal" or "uniform", where `draw_noise` gives independent numbers of that law.
    noise_law = None
    #: Whether x is standard normal, and its noise is x.
    is_standard_normal = False
    #: f of x = f(z), or None: of flows, and of stock TFP's transformed distributions.
    bijector = None

    def __new__(cls, *args, **kwargs):
        # TFP would take those of the base class's `__init__` for `parameters`. In a lambda, which hides layers from `tf.Module`.
        instance = super().__new__(cls)
        instance.__dict__["_given"] = lambda: inspect.signature(cls.__init__).bind(None, *args, **kwargs)
        return instance

    def __init__(
        self,
        event,
        *,
        dtype,
        condition_shape=None,
        is_reparameterized=True,
        condition_scaling=None,
        name=None,
    ):
        if not isinstance(event, Event):
            raise TypeError(f"`event` must be a tfdgm.Event, as Event((3,)). Received: {event!r}")
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.event = event
        self.condition_scaling = condition_scaling
        if self.is_bound and self.kind == "exact":
            self.kind = "lower bound"  # Of a subclass that says is_bound = True.
        reparameterized = is_reparameterized and event.levels is None
        super().__init__(
            dtype=tf.as_dtype(event.dtype(dtype)),
            reparameterization_type=tfd.FULLY_REPARAMETERIZED if reparameterized else tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            name=name or type(self).__name__,
        )

    @abc.abstractmethod
    def draw_noise(self, seeds):
        """seeds int32 [n, 2] -> the noise of n samples; row i depends on seeds[i] alone."""

    def scoring_noise(self, seeds):
        """seeds int32 [n, 2] -> the noise that the scores of n rows need; of the kind "estimate" alone."""
        raise NotImplementedError(f"{self.name} is {self.kind}: its scores need no noise.")

    @abc.abstractmethod
    def _from_noise(self, noise, condition):
        """The noise of n samples -> x [n, *event_shape]; deterministic."""

    @abc.abstractmethod
    def _log_prob_of_rows(self, x, condition, noise, known):
        """x [n, *event_shape], of the support -> log p(x) [n], nats. `noise` is that of `scoring_noise`, or None; `known` bool of
        x's shape where entries may be missing, else None."""

    def integrates(self, known):
        """known bool [n, *event_shape] -> bool [n]: whether it integrates out exactly what is unknown; of events with `missing`.
        The log_prob of other rows is -infinity."""
        return tf.reduce_all(tf.reshape(known, (-1, self.event.size)), axis=1)

    def _from_noise_and_log_prob(self, noise, condition):
        """(x, log p(x)) of `_from_noise`: two passes, where a subclass knows no way of one."""
        x = self._from_noise(noise, condition)
        return x, self.log_prob_of_rows(x, condition)

    def _adapt(self, x, condition):
        """Sets what depends on data from rows x [n, *event_shape]; nothing by default."""

    def functions(self):
        """What it can do besides log_prob and sample, by name ("encode", "decode", "complete"): what becomes a method of a model
        and a signature of its SavedModel.

        Returns:
          {name: (function, {input: tf.TensorSpec [None, ...]})}; a function takes its inputs by keyword, and `condition` where
          the distribution does, all with the batch axis first, and returns a dict of such tensors.
        """
        return {}

    @property
    def density(self):
        """The density over the reals that integers are scored by, at x + u with u = `scoring_noise`; or itself."""
        return self

    @property
    def source(self):
        """The distribution of z, of what has `to_base` and `from_base_and_log_det`; or itself."""
        return self

    @property
    def networks(self):
        """The autoregressive networks inside it, each once."""
        outer = parts_of(self, lambda part: isinstance(part, keras.layers.Layer))
        layers = {id(layer): layer for part in outer for layer in layers_of(part)}
        return [layer for layer in layers.values() if isinstance(layer, AutoregressiveNetwork)]

    @property
    def event_spec(self):
        """tf.TensorSpec of rows x."""
        return tf.TensorSpec((None, *self.event.shape), self.dtype)

    @property
    def numbers_a_row(self):
        """About how many numbers one row's score keeps at once: parameters and activations."""
        return 16 * self.event_size

    # TFP would make integers of an array of fractions, without a word.
    def log_prob(self, value, name="log_prob", **kwargs):
        """value [*batch, *event_shape] -> log p(value) [*batch], nats."""
        return super().log_prob(self._unrounded(value), name=name, **kwargs)

    def prob(self, value, name="prob", **kwargs):
        """exp(log_prob)."""
        return super().prob(self._unrounded(value), name=name, **kwargs)

    def unnormalized_log_prob(self, value, name="unnormalized_log_prob", **kwargs):
        """log_prob."""
        return super().unnormalized_log_prob(self._unrounded(value), name=name, **kwargs)

    @property
    def parameters(self):
        """The arguments that it was made of; what scales conditions is its own."""
        given = self._given()
        given.apply_defaults()
        own = {"condition_scaling": self.condition_scaling}
        return {name: own.get(name, value) for name, value in list(given.arguments.items())[1:]}

    def copy(self, **overrides):
        """A distribution of the same class and arguments but for `overrides`; it shares the networks not given anew."""
        return type(self)(**{**self.parameters, **overrides})

    def _unrounded(self, value):
        return tf.convert_to_tensor(value) if self.event.is_discrete else value

    def log_prob_of_rows(self, x, condition=None, noise=None, known=None):
        """x [n, *event_shape], condition [n, *condition_shape] -> log p(x) [n], nats; -infinity outside the support.

        `noise` is that of `scoring_noise`; by default of an estimate it is a fixed function of the row, so that scores repeat and
        do not depend on the batch. Where entries may be missing, those that are NaN, or 0 in `known` [n, *event_shape], are
        integrated out: -infinity where they cannot be, see `integrates`.
        """
        self._check_condition(condition)
        x, is_event, known = self._entries(tf.convert_to_tensor(x), known)
        if noise is None and self.kind == "estimate":
            noise = self.scoring_noise(self.seeds_of(x))
        log_prob = self._log_prob_of_rows(x, condition, noise, known)
        return self._without_nan(tf.where(is_event, log_prob, tf.cast(-math.inf, log_prob.dtype)))

    @staticmethod
    def _without_nan(log_prob):
        """-infinity where float32 ends: infinities meet there and give NaN."""
        return tf.where(tf.math.is_nan(log_prob), tf.cast(-math.inf, log_prob.dtype), log_prob)

    def log_prob_of_seeds(self, x, seeds, condition=None, known=None):
        """As `log_prob_of_rows`, with the scoring noise of seeds int32 [n, 2]."""
        return self.log_prob_of_rows(x, condition, self.scoring_noise(seeds), known)

    def log_prob_of_known(self, x, known, condition=None):
        """As `log_prob_of_rows`, of rows of which entries are missing."""
        return self.log_prob_of_rows(x, condition, known=known)

    def from_noise(self, noise, condition=None):
        """The noise of n samples, condition [n, *condition_shape] -> x [n, *event_shape]; deterministic."""
        self._check_condition(condition)
        return self._from_noise(noise, condition)

    def from_noise_and_log_prob(self, noise, condition=None):
        """The noise of n samples -> (x [n, *event_shape], log p(x) [n], nats): a sample with its density, from one pass where
        there is one, as of flows and autoregressive models."""
        self._check_condition(condition)
        x, log_prob = self._from_noise_and_log_prob(noise, condition)
        return x, self._without_nan(log_prob)

    def adapt(self, batches):
        """Sets what depends on data, as the first components of a mixture, from an iterable of batches {"x": [n, *event_shape],
        "condition": [n, *condition_shape], "weight": [n]}. Up to 65,536 rows are kept at once, from all over the data; rows with
        weights come as often as these say."""
        rows = some_rows(batches, 65536)
        rows = by_weight(rows) if "weight" in rows else rows
        self.adapt_to_rows(tf.convert_to_tensor(rows["x"]), rows.get("condition"))

    def adapt_to_rows(self, x, condition=None):
        """As `adapt`, from rows x [n, *event_shape] and condition [n, *condition_shape]."""
        self._check_condition(condition)
        if condition is not None and self.condition_scaling is not None:
            self.condition_scaling.adapt(condition)
        self._adapt(x, condition)

    def standardized(self, condition):
        """A condition [n, *condition_shape] by the means and standard deviations that `adapt` saw; None where there is none."""
        self._check_condition(condition)
        return condition if condition is None or self.condition_scaling is None else self.condition_scaling(condition)

    def _check_condition(self, condition):
        if (condition is None) != (self.condition_shape is None):
            wanted = "takes no `condition`" if condition is not None else "needs a `condition`"
            received = "None" if condition is None else "one"
            raise ValueError(f"{self.name} {wanted} (condition_shape={self.condition_shape}). Received: {received}")

    def seeds_of(self, x):
        """A hash of each of the rows x [n, *event_shape], int32 [n, 2]."""
        if self._hash is None:
            self._hash = FrozenRandom(0).integers(1, 2**31 - 2, (self.event_size, 2)).astype(np.int32)
        words = tf.cast(x, tf.int32) if self.event.is_discrete else tf.bitcast(tf.cast(x, tf.float32), tf.int32)
        # The products wrap around, on every device alike.
        return tf.reduce_sum((tf.reshape(words, (-1, self.event_size, 1)) + 1) * self._hash, axis=1)

    _hash = None

    def _entries(self, x, known=None):
        """x [n, *event_shape] -> (x, brought into the support; bool [n], whether it was there; which entries are known)."""
        if known is not None and not self.event.missing:
            raise ValueError(f"{self.name} takes no `known`: none of its entries may be missing. Received one.")
        if self.event.missing:
            x, known = known_entries(x, known)
        if self.event.levels is None:
            is_event = tf.ones(tf.shape(x)[:1], tf.bool)
        else:
            x = tf.cast(x, tf.int64) if x.dtype.is_integer or x.dtype.is_bool else x
            is_entry = self.event.are_levels(x)
            is_event = tf.reduce_all(tf.reshape(is_entry, (-1, self.event.size)), axis=-1)
            x = tf.cast(tf.where(is_entry, x, tf.zeros_like(x)), self.dtype)
        return x, is_event if known is None else is_event & self.integrates(known), known

    def _log_prob(self, x, condition=None, num_samples=1, known=None):
        x = tf.convert_to_tensor(x)
        batch = tf.shape(x)[: tf.rank(x) - len(self.event.shape)]
        rows = tf.reshape(x, (-1, *self.event.shape))
        condition = self._condition_rows(condition, batch)
        known = None if known is None else tf.reshape(tf.broadcast_to(known, tf.shape(x)), (-1, *self.event.shape))
        if num_samples == 1 or self.kind != "estimate":
            return tf.reshape(self.log_prob_of_rows(rows, condition, known=known), batch)
        seeds = self.seeds_of_draws(rows, num_samples)
        draws = [self.log_prob_of_seeds(rows, seeds[:, k], condition) for k in range(num_samples)]
        return tf.reshape(tf.reduce_logsumexp(draws, axis=0) - math.log(num_samples), batch)

    def seeds_of_draws(self, x, num_samples):
        """Seeds of several draws of the scoring noise of rows x [n, *event_shape], int32 [n, num_samples, 2]; the first is the
        one that `log_prob_of_rows` takes."""
        return derived_seeds(self.seeds_of(self._entries(x)[0]), num_samples)

    def _call_sample_n(self, sample_shape, seed, condition=None):
        # TFP makes n of the sample shape before it asks for rows.
        condition = self._condition_rows(condition, tf.reshape(tf.cast(sample_shape, tf.int32), (-1,)))
        return super()._call_sample_n(sample_shape, seed, condition=condition)

    def _sample_n(self, n, seed=None, condition=None):
        n = tf.convert_to_tensor(n, tf.int32)
        seeds = tfp_random.split_seed(tfp_random.sanitize_seed(seed), n=n)
        condition = self._condition_rows(condition, tf.reshape(n, (1,)))
        return self.from_noise(self.draw_noise(tf.reshape(seeds, (-1, 2))), condition)

    def _condition_rows(self, condition, batch):
        """A condition, broadcast to [*batch, *condition_shape], as rows. `_check_condition` tells what is wrong."""
        if condition is None or self.condition_shape is None:
            return condition
        condition, shape = tf.convert_to_tensor(condition), tf.concat([batch, self.condition_shape], axis=0)
        try:
            condition = tf.broadcast_to(condition, shape)
        except (ValueError, tf.errors.InvalidArgumentError):
            raise ValueError(
                f"`condition` must be one of condition_shape={self.condition_shape}, or one for each x or sample, of shape "
                f"{tf.get_static_value(shape)}. Received: condition.shape={tuple(condition.shape)}"
            ) from None
        return tf.reshape(condition, (-1, *self.condition_shape))

    @property
    def is_bound(self):
        """Whether log_prob is no more than a lower bound, or an estimate of one."""
        return self.kind != "exact"

    @property
    def levels(self):
        """None for reals, L for integers 0..L-1, or one of either for each column; see `Event`."""
        return self.event.levels

    @property
    def event_size(self):
        """Number of dimensions of one event."""
        return self.event.size

    def _event_shape(self):
        return tf.TensorShape(self.event.shape)

    def _event_shape_tensor(self):
        return tf.constant(self.event.shape, tf.int32)

    def _batch_shape(self):
        return tf.TensorShape([])

    def _batch_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _default_event_space_bijector(self):
        return tfb.Identity() if self.event.levels is None else None
