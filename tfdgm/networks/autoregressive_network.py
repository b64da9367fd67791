import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfdgm.arguments import check_types
from tfdgm.layers import reorder, take_row, update_slice


class AutoregressiveNetwork(keras.layers.Layer):
    """The parameters of p(x_t | x_<t) for every position t, evaluated in two ways that give the same numbers.

    `call` scores: all positions at once, from a known x. `step` generates: one position at a time, each activation computed
    once and kept in `state`. A whole pass of `step` does about the arithmetic of one `call`.

    A subclass writes `call(x, condition=None, training=None)`, `initial_state(batch_size, condition)` and
    `step(t, x_prev, state)`. It may override `generate` where it can do better than one `step` a position.

    Args:
      event_shape: shape of one event x, without the batch axis.
      params_size: parameters of one position.
      order: order[t] is the flat index into the event of the position that comes t-th; a permutation of 0..D-1.
      condition_shape: shape of the condition c in p(x|c), or None.
    """

    #: See `networks.of_levels`.
    family_defaults = {}

    def __new__(cls, *args, **kwargs):
        check_types(cls.__init__, (None, *args), kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        event_shape: Sequence[int],
        params_size: int,
        order: ArrayLike,
        condition_shape: Sequence[int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.event_shape = tuple(event_shape)
        self.event_size = math.prod(self.event_shape)
        self.params_size = params_size
        self.order = np.asarray(order)
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        if sorted(self.order.tolist()) != list(range(self.event_size)):
            raise ValueError(f"The order must be a permutation of 0..{self.event_size - 1}. Received: {order}")

    def call(self, x, condition=None, training=None):
        """x: [n, *event_shape] -> params [n, *event_shape, params_size]; those of position t depend on x_<t only."""
        raise NotImplementedError

    def initial_state(self, batch_size, condition=None):
        """The state before the first position (any structure of tensors)."""
        raise NotImplementedError

    def step(self, t, x_prev, state):
        """One position: t is a scalar integer, x_prev [n] the value at position t - 1 (ignored at t = 0).

        Returns (params [n, params_size] of position t, the new state).
        """
        raise NotImplementedError

    def start_at(self, params):
        """Sets the output biases so that training starts from params [*event_shape, params_size]; from their mean where
        positions share a bias."""
        for bias in self.output_biases():
            bias.assign(ops.mean(ops.reshape(params, (-1, *bias.shape)), axis=0))

    def output_biases(self):
        """What `start_at` sets: vectors of params_size, or of as many for each of a pixel's colours. A network may have none."""
        return []

    def generate(self, emit, inputs, condition=None, *, output_shapes=()):
        """The one loop that produces x, position after position.

        Args:
          emit: `emit(position, params, inputs_at_position) -> (x_at_position, outputs_at_position)`; position is a scalar flat
            index into the event, params [n, params_size], inputs_at_position has the structure of `inputs` with [n, ...] leaves,
            x_at_position [n], outputs_at_position a list of [n, *shape]: what else is to be kept, as log-dets or the parameters.
            Each row by itself: a network may give it k positions at once, as [n k] rows with a position each.
          inputs: a structure of tensors [n, *event_shape] or [n, *event_shape, k]: noise, or known values.
          condition: [n, *condition_shape] or None.
          output_shapes: the shape of each output of one position, as () or (params_size,).

        Returns:
          (x [n, *event_shape], outputs: a list of [n, *event_shape, *shape]).
        """
        return self.generate_by_steps(emit, inputs, condition, output_shapes=output_shapes)

    def generate_by_steps(self, emit, inputs, condition=None, *, output_shapes=()):
        """`generate`, one `step` a position, whichever way the network itself generates."""
        inputs = keras.tree.map_structure(self._in_order, inputs)
        n = ops.shape(keras.tree.flatten(inputs)[0])[1]
        size, order = self.event_size, ops.convert_to_tensor(self.order.astype("int32"))

        def body(t, x_prev, kept, state):
            params_t, state = self.step(t, x_prev, state)
            at_t = keras.tree.map_structure(lambda u: take_row(u, t), inputs)
            x_t, outputs = emit(order[t], params_t, at_t)
            x_t = ops.cast(x_t, self.compute_dtype)
            return t + 1, x_t, keep(kept, t, [u[None] for u in (x_t, *outputs)]), state

        zeros = ops.zeros((n,), self.compute_dtype)
        kept = [ops.zeros((size, n, *shape), self.compute_dtype) for shape in ((), *output_shapes)]
        loop = (ops.convert_to_tensor(0), zeros, kept, self.initial_state(n, condition))
        _, _, kept, _ = ops.while_loop(lambda t, *_: t < size, body, loop, maximum_iterations=size)
        x, *outputs = [self._in_event(u) for u in kept]
        return x, outputs

    def _in_order(self, u):
        """[n, *event_shape, ...] -> [D, n, ...], positions in the order of generation."""
        rest = tuple(u.shape[1 + len(self.event_shape) :])
        u = ops.swapaxes(ops.reshape(u, (-1, self.event_size, *rest)), 0, 1)
        return reorder(u, self.order, axis=0)

    def _in_event(self, u):
        """[D, n, ...] in the order of generation -> [n, *event_shape, ...]."""
        u = reorder(u, np.argsort(self.order), axis=0)
        return ops.reshape(ops.swapaxes(u, 0, 1), (-1, *self.event_shape, *u.shape[2:]))

    def compute_output_shape(self, input_shape, **kwargs):
        return (*input_shape, self.params_size)


def keep(kept, start, rows):
    """`kept`, tensors [D, n, *shape], each with its rows [k, n, *shape] written from position `start` on."""
    return [update_slice(u, [start] + [0] * (len(u.shape) - 1), new) for u, new in zip(kept, rows, strict=True)]
