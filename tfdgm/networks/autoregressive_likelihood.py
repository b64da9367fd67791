import math

import keras
import numpy as np
from keras import ops

from tfdgm.event import Event
from tfdgm.families import Family
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork


class AutoregressiveLikelihood(keras.layers.Layer):
    """log p(x) = sum_t log p(x_t | x_<t): the network gives each position's parameters, the family their meaning.

    Scoring is one call of the network; sampling and completing are its `generate`, at about the same arithmetic.

    With `end`, a symbol that absorbs: after its first occurrence every position is that symbol with probability 1, and any other
    event has probability 0. What comes before it does not depend on what comes after, so x is drawn freely and then cut there.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> log p(x_t | x_<t) [n, *grid_shape], nats.

    Args:
      network: an `AutoregressiveNetwork` with the family's params_size, position_shape and, if it has any, levels.
      family: a `Family`.
      end: the symbol that ends a sequence, or None; of a vector of levels and a network from left to right.
    """

    def __init__(self, network: AutoregressiveNetwork, family: Family, *, end: int | None = None, **kwargs):
        super().__init__(**{"dtype": network.dtype_policy, **kwargs})
        if network.params_size != family.params_size:
            raise ValueError(
                f"`network` must give the family's {family.params_size} parameters a position. "
                f"Received: network.params_size={network.params_size}"
            )
        if network.position_shape != family.position_shape:
            raise ValueError(
                f"`network` must have the family's position_shape={family.position_shape}. "
                f"Received: network.position_shape={network.position_shape}"
            )
        if network.levels not in (None, family.levels):
            raise ValueError(
                f"`network` must see the family's levels={family.levels}, or x as it is. "
                f"Received: network.levels={network.levels}"
            )
        self.network, self.family, self.end = network, family, end
        self.event = Event(network.event_shape, family.levels, end)
        #: The flat index of each position, [*grid_shape].
        self.positions = np.arange(network.num_positions, dtype="int32").reshape(network.grid_shape)
        if end is not None and not np.array_equal(network.order, np.arange(self.event.size)):
            raise ValueError(f"`end` needs a network whose order is 0..{self.event.size - 1}. Received: {network.order.tolist()}")
        self.built = True

    def call(self, x, condition=None, training=None):
        x = ops.cast(x, self.compute_dtype)
        params = ops.cast(self.network(x, condition=condition, training=training), x.dtype)
        log_prob = self.family.log_prob(params, x, self.positions)
        if self.end is None:
            return log_prob
        of_ended = ops.where(ops.equal(x, self.end), ops.zeros_like(log_prob), -math.inf)
        return ops.where(self.has_ended(x), of_ended, log_prob)

    def sample(self, uniforms, condition=None):
        """uniforms [n, *grid_shape, uniforms_size] in (0, 1) -> x [n, *event_shape]."""

        def emit(position, params, uniforms_at):
            return self.family.sample(params, uniforms_at, position), []

        return self._cut(self.network.generate(emit, uniforms, condition)[0])

    def sample_and_log_prob(self, uniforms, condition=None):
        """uniforms -> (x as of `sample`, its log p(x_t | x_<t) [n, *grid_shape], nats), from one pass."""

        def emit(position, params, uniforms_at):
            drawn = self.family.sample(params, uniforms_at, position)
            return drawn, [self.family.log_prob(params, drawn, position)]

        x, [log_prob] = self.network.generate(emit, uniforms, condition, output_shapes=[()])
        if self.end is not None:
            log_prob = ops.where(self.has_ended(x), 0.0, log_prob)
        return self._cut(x), log_prob

    def complete(self, uniforms, x, known, condition=None):
        """As `sample`, but positions where `known` [n, *event_shape] is not 0 keep x. Exact draws from p(unknown | known) when
        the known positions come first in the network's order."""

        def emit(position, params, at):
            return ops.where(at["known"], at["x"], self.family.sample(params, at["uniforms"], position)), []

        x, known = ops.cast(x, self.compute_dtype), ops.not_equal(known, ops.zeros_like(known))
        completed = self.network.generate(emit, {"uniforms": uniforms, "x": x, "known": known}, condition)[0]
        return completed if self.end is None else ops.where(known, x, self._cut(completed))

    def adapt(self, x):
        """Starts the network's outputs at what rows x [n, *event_shape] say of each position by itself."""
        params = self.family.marginal_params(ops.cast(x, self.compute_dtype))
        if params is not None:
            self.network.start_at(params)

    def has_ended(self, x):
        """Whether x [n, *event_shape] had its `end` before each position, bool [n, *grid_shape]."""
        if self.end is None:
            return ops.zeros((ops.shape(x)[0], *self.network.grid_shape), "bool")
        is_end = ops.cast(ops.equal(x, self.end), "int32")
        return ops.cumsum(is_end, axis=1) > is_end

    def _cut(self, x):
        """x, with all after its first `end` set to it."""
        return x if self.end is None else ops.where(self.has_ended(x), self.end, x)
