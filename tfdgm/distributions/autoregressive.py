import tensorflow as tf

from tfdgm.distributions import candidates
from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.noise import uniforms
from tfdgm.event import Event
from tfdgm.layers import Standardize
from tfdgm.networks import AutoregressiveLikelihood


class Autoregressive(Distribution):
    """log p(x) = sum_t log p(x_t | x_<t) of a network and a family, by a `networks.AutoregressiveLikelihood`.

    Scoring is one call of the network; sampling is its `generate`, at about the same arithmetic. Conditions reach the network
    standardised, once `adapt` has seen some.

    Args:
      network: an `AutoregressiveNetwork` with the family's params_size.
      family: a `Family`.
      end: the symbol that ends a sequence, after which all are that symbol, or None; see `networks.AutoregressiveLikelihood`.
      missing: whether entries may be missing: those that come last in the network's order are integrated out exactly.
      condition_scaling: a `layers.Standardize` of conditions; a new one by default.
    """

    is_autoregressive = True
    noise_law = "uniform"

    def __init__(self, network, family, *, end=None, missing=False, condition_scaling=None, name="autoregressive"):
        if missing and network.position_shape:
            raise ValueError(f"`missing` needs positions of one number each. Received: position_shape={network.position_shape}")
        self.likelihood = AutoregressiveLikelihood(network, family, end=end)
        if condition_scaling is None and network.condition_shape is not None:
            condition_scaling = Standardize(network.condition_shape, dtype=network.variable_dtype)
        super().__init__(
            Event(network.event_shape, family.levels, end, missing),
            dtype=tf.as_dtype(network.compute_dtype),
            condition_shape=network.condition_shape,
            is_reparameterized=family.is_reparameterized,
            condition_scaling=condition_scaling,
            name=name,
        )

    @classmethod
    def of_new(cls, network, family, **options):
        """The distribution of a network that is not trained: its outputs start at the family's `initial_params`."""
        params = family.initial_params()
        if params is not None:
            network.start_at(tf.broadcast_to(tf.cast(params, network.variable_dtype), (*network.grid_shape, family.params_size)))
        return cls(network, family, **options)

    @property
    def network(self):
        """The `AutoregressiveNetwork`."""
        return self.likelihood.network

    @property
    def family(self):
        """The `Family`."""
        return self.likelihood.family

    def log_prob_of_positions(self, x, condition=None):
        """x [n, *event_shape] -> log p(x_t | x_<t) of every position t, [n, *grid_shape], nats."""
        return self.likelihood(x, condition=self.standardized(condition))

    def _log_prob_of_rows(self, x, condition, noise, known):
        of_positions = self.log_prob_of_positions(x, condition)
        of_positions = of_positions if known is None else tf.where(known, of_positions, tf.zeros_like(of_positions))
        return self._sum(of_positions)

    def integrates(self, known):
        """Whether the known entries come first in the network's order: log p(x_1..x_k) = sum_(t <= k) log p(x_t | x_<t)."""
        return candidates.known_come_first(self.network.order, tf.reshape(tf.cast(known, tf.int32), (-1, self.event_size)))

    def _adapt(self, x, condition):
        self.likelihood.adapt(x)

    def draw_noise(self, seeds):
        shape = (*self.network.grid_shape, self.family.uniforms_size)
        return uniforms(seeds, shape, tf.as_dtype(self.network.compute_dtype))

    def _from_noise(self, noise, condition):
        return tf.cast(self.likelihood.sample(noise, self.standardized(condition)), self.dtype)

    def _from_noise_and_log_prob(self, noise, condition):
        x, log_prob = self.likelihood.sample_and_log_prob(noise, self.standardized(condition))
        return tf.cast(x, self.dtype), self._sum(log_prob)

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
        return tf.cast(self.likelihood.complete(noise, x, known, self.standardized(condition)), self.dtype)

    def _sum(self, log_prob):
        return tf.reduce_sum(tf.reshape(log_prob, (-1, self.network.num_positions)), axis=-1)
