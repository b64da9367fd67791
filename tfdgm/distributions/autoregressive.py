import tensorflow as tf

from tfdgm.distributions import candidates
from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.noise import uniforms
from tfdgm.event import Event
from tfdgm.layers import Standardize


class Autoregressive(Distribution):
    """log p(x) = sum_t log p(x_t | x_<t), where the network gives each position's parameters and the family their meaning.

    Scoring is one call of the network; sampling is its `generate`, at about the same arithmetic. Conditions reach the network
    standardised, once `adapt` has seen some.

    Args:
      network: an `AutoregressiveNetwork` with the family's params_size.
      family: a `Family`.
      missing: whether entries may be missing: those that come last in the network's order are integrated out exactly.
      condition_scaling: a `layers.Standardize` of conditions; a new one by default.
    """

    def __init__(self, network, family, *, missing=False, condition_scaling=None, name="autoregressive"):
        if network.params_size != family.params_size:
            raise ValueError(
                f"`network` must give the family's {family.params_size} parameters a position. "
                f"Received: network.params_size={network.params_size}"
            )
        self.network, self.family = network, family
        if condition_scaling is None and network.condition_shape is not None:
            condition_scaling = Standardize(network.condition_shape, dtype=network.variable_dtype)
        super().__init__(
            Event(network.event_shape, family.levels, missing=missing),
            dtype=tf.as_dtype(network.compute_dtype),
            condition_shape=network.condition_shape,
            is_reparameterized=family.is_reparameterized,
            condition_scaling=condition_scaling,
            name=name,
        )

    @classmethod
    def of_new(cls, network, family):
        """The distribution of a network that is not trained: its outputs start at the family's `initial_params`."""
        params = family.initial_params()
        if params is not None:
            network.start_at(tf.broadcast_to(tf.cast(params, network.variable_dtype), (*network.event_shape, family.params_size)))
        return cls(network, family)

    def log_prob_of_positions(self, x, condition=None):
        """x [n, *event_shape] -> log p(x_t | x_<t) of every position t, [n, *event_shape], nats."""
        x = tf.cast(x, self.network.compute_dtype)
        params = tf.cast(self.network(self._network_input(x), condition=self.standardized(condition)), x.dtype)
        return self.family.log_prob(params, x)

    def _log_prob_of_rows(self, x, condition, noise, known):
        of_positions = self.log_prob_of_positions(x, condition)
        of_positions = of_positions if known is None else tf.where(known, of_positions, tf.zeros_like(of_positions))
        return tf.reduce_sum(tf.reshape(of_positions, (-1, self.event_size)), axis=-1)

    def integrates(self, known):
        """Whether the known entries come first in the network's order: log p(x_1..x_k) = sum_(t <= k) log p(x_t | x_<t)."""
        return candidates.known_come_first(self.network.order, tf.reshape(tf.cast(known, tf.int32), (-1, self.event_size)))

    def _adapt(self, x, condition):
        params = self.family.marginal_params(tf.cast(x, self.network.compute_dtype))
        if params is not None:
            self.network.start_at(params)

    def draw_noise(self, seeds):
        shape = (*self.event.shape, self.family.uniforms_size)
        return uniforms(seeds, shape, tf.as_dtype(self.network.compute_dtype))

    def _from_noise(self, noise, condition):
        def emit(position, params, uniforms_at):
            return self._network_input(self.family.sample(params, uniforms_at)), []

        return self._to_event(self.network.generate(emit, noise, self.standardized(condition))[0])

    def _from_noise_and_log_prob(self, noise, condition):
        def emit(position, params, uniforms_at):
            drawn = self.family.sample(params, uniforms_at)
            return self._network_input(drawn), [self.family.log_prob(params, drawn)]

        x, [log_prob] = self.network.generate(emit, noise, self.standardized(condition), output_shapes=[()])
        return self._to_event(x), tf.reduce_sum(tf.reshape(log_prob, (-1, self.event_size)), axis=-1)

    def functions(self):
        def complete(x, known, seed, condition=None):
            return {"x": self.complete_from_noise(self.draw_noise(seed), x, known, condition)}

        seed = tf.TensorSpec((None, 2), tf.int32)
        return {"complete": (complete, {"x": self.event_spec, "known": self.event_spec, "seed": seed})}

    @property
    def numbers_a_row(self):
        return self.event_size * (64 + self.network.params_size)

    def complete_from_noise(self, noise, x, known, condition=None):
        """As `from_noise`, but positions where `known` [n, *event_shape] is not 0 keep x. Exact draws from p(unknown | known)
        when the known positions come first in the network's order."""

        def emit(position, params, at):
            drawn = self._network_input(self.family.sample(params, at["noise"]))
            return tf.where(at["known"], at["x"], drawn), []

        x = self._network_input(tf.cast(x, self.network.compute_dtype))
        given = {"noise": noise, "x": x, "known": tf.not_equal(known, tf.zeros_like(known))}
        return self._to_event(self.network.generate(emit, given, self.standardized(condition))[0])

    def _to_event(self, x):
        x = self._network_output(x)
        return tf.cast(tf.round(x), self.dtype) if self.levels else x

    # The network sees levels 0..L-1 as 0..1: with -1..1, a mostly black image trains far worse (binarized MNIST: by 9 nats).
    def _network_input(self, x):
        return x / (self.levels - 1) if self.levels else x

    def _network_output(self, x):
        return x * (self.levels - 1) if self.levels else x
