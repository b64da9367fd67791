import abc
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfdgm.arguments import check_types, check_whole
from tfdgm.layers import reorder, take_row, update_slice


class AutoregressiveNetwork(keras.layers.Layer, abc.ABC):
    """The parameters of p(x_t | x_<t) for every position t, evaluated in two ways that give the same numbers.

    `call` scores: all positions at once, from a known x. `step` and `see` generate: one position at a time, each activation
    computed once and kept in `state`. A whole pass of them does about the arithmetic of one `call`.

    A subclass writes `call(x, condition=None, training=None)`, `initial_state(batch_size, condition)`, `step(t, state)` and
    `see(t, x, state)`. It may override `generate` where it can do better than one `step` a position. What it computes with is
    `seen(x)`; what it takes and gives is x.

    A position is one number of the event, or with a `position_shape` a vector of them: a pixel's colours, a patch. The other axes
    of the event are its grid: event_shape = (*grid_shape, *position_shape), of D positions.

    Args:
      event_shape: shape of one event x, without the batch axis.
      params_size: parameters of one position.
      order: order[t] is the flat index into the grid of the position that comes t-th; a permutation of 0..D-1.
      levels: L: x is the integers 0..L-1, which the network sees as x / (L - 1), between 0 and 1; None: x as it is.
      condition_shape: shape of the condition c in p(x|c), or None.
      position_shape: the last axes of event_shape, which make one position.
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
        *,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        position_shape: Sequence[int] = (),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.event_shape, self.position_shape = tuple(event_shape), tuple(position_shape)
        axes = len(self.event_shape) - len(self.position_shape)
        self.grid_shape = self.event_shape[:axes]
        self.event_size, self.num_positions = math.prod(self.event_shape), math.prod(self.grid_shape)
        self.params_size = params_size
        self.order = np.asarray(order)
        self.levels = levels
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        if self.event_shape[axes:] != self.position_shape:
            raise ValueError(
                f"`event_shape` must end in position_shape={self.position_shape}. Received: event_shape={self.event_shape}"
            )
        if sorted(self.order.tolist()) != list(range(self.num_positions)):
            raise ValueError(f"The order must be a permutation of 0..{self.num_positions - 1}. Received: {order}")
        if levels is not None:
            check_whole(2, levels=levels)

    @property
    def unit(self):
        """What of x the network sees as 1."""
        return 1 if self.levels is None else self.levels - 1

    # Levels are seen as 0..1: with -1..1, a mostly black image trains far worse (binarized MNIST: by 9 nats).
    def seen(self, x):
        """What the network sees of x."""
        x = ops.cast(x, self.compute_dtype)
        return x if self.unit == 1 else x / self.unit

    @abc.abstractmethod
    def call(self, x, condition=None, training=None):
        """x: [n, *event_shape] -> params [n, *grid_shape, params_size]; those of position t depend on x_<t only."""

    @abc.abstractmethod
    def initial_state(self, batch_size, condition=None):
        """The state before the first position (any structure of tensors)."""

    @abc.abstractmethod
    def step(self, t, state):
        """(params [n, params_size] of the position that comes t-th, the new state), once those before it are seen; t is a scalar
        integer."""

    @abc.abstractmethod
    def see(self, t, x, state):
        """The new state once x [n, *position_shape] is seen at the position that comes t-th, after its `step`."""

    def start_at(self, params):
        """Sets the output biases so that training starts from params [*grid_shape, params_size]; from their mean where
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
            index into the grid, params [n, params_size], inputs_at_position has the structure of `inputs` with [n, ...] leaves,
            x_at_position [n, *position_shape], outputs_at_position a list of [n, *shape]: what else is to be kept, as log-dets or
            the parameters. Each row by itself: a network may give it k positions at once, as [n k] rows with a position each.
          inputs: a structure of tensors [n, *grid_shape, ...], as [n, *event_shape]: noise, or known values.
          condition: [n, *condition_shape] or None.
          output_shapes: the shape of each output of one position, as () or (params_size,).

        Returns:
          (x [n, *event_shape], outputs: a list of [n, *grid_shape, *shape]).
        """
        return self.generate_by_steps(emit, inputs, condition, output_shapes=output_shapes)

    def generate_by_steps(self, emit, inputs, condition=None, *, output_shapes=()):
        """`generate`, one `step` a position, whichever way the network itself generates."""
        inputs = keras.tree.map_structure(self._in_order, inputs)
        n = ops.shape(keras.tree.flatten(inputs)[0])[1]
        size, order = self.num_positions, ops.convert_to_tensor(self.order.astype("int32"))

        def body(t, kept, state):
            params_t, state = self.step(t, state)
            at_t = keras.tree.map_structure(lambda u: take_row(u, t), inputs)
            x_t, outputs = emit(order[t], params_t, at_t)
            x_t = ops.cast(x_t, self.compute_dtype)
            return t + 1, keep(kept, t, [u[None] for u in (x_t, *outputs)]), self.see(t, x_t, state)

        kept = [ops.zeros((size, n, *shape), self.compute_dtype) for shape in (self.position_shape, *output_shapes)]
        loop = (ops.convert_to_tensor(0), kept, self.initial_state(n, condition))
        _, kept, _ = ops.while_loop(lambda t, *_: t < size, body, loop, maximum_iterations=size)
        x, *outputs = [self._in_event(u) for u in kept]
        return x, outputs

    def _in_order(self, u):
        """[n, *grid_shape, ...] -> [D, n, ...], positions in the order of generation."""
        rest = tuple(u.shape[1 + len(self.grid_shape) :])
        u = ops.swapaxes(ops.reshape(u, (-1, self.num_positions, *rest)), 0, 1)
        return reorder(u, self.order, axis=0)

    def _in_event(self, u):
        """[D, n, ...] in the order of generation -> [n, *grid_shape, ...]."""
        u = reorder(u, np.argsort(self.order), axis=0)
        return ops.reshape(ops.swapaxes(u, 0, 1), (-1, *self.grid_shape, *u.shape[2:]))

    def compute_output_shape(self, input_shape, **kwargs):
        return (*input_shape[: len(input_shape) - len(self.position_shape)], self.params_size)

    def _common_config(self):
        """What a subclass's `get_config` begins with."""
        return {
            **super().get_config(),
            "event_shape": self.event_shape,
            "params_size": self.params_size,
            "levels": self.levels,
            "condition_shape": self.condition_shape,
        }


def keep(kept, start, rows):
    """`kept`, tensors [D, n, *shape], each with its rows [k, n, *shape] written from position `start` on."""
    return [update_slice(u, [start] + [0] * (len(u.shape) - 1), new) for u, new in zip(kept, rows, strict=True)]
