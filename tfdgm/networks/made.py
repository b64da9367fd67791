import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from tfdgm.arguments import checked_sizes
from tfdgm.frozen_random import FrozenRandom
from tfdgm.layers import Dropout, MaskedDense, is_exporting, reorder, update_slice
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork
from tfdgm.networks.made_blocks import MADEBlocks


class MADE(AutoregressiveNetwork):
    """A masked autoencoder for distribution estimation: Germain et al. 2015, arXiv:1502.03509.

    Every unit has a degree m; inputs have 1..D in the input order, hidden units 1..D-1 (from 0 where they see a condition).
    A connection into a hidden unit stays where m_out >= m_in (eq. 12), into an output where m_out > m_in (eq. 13):

        h_1 = g((W_1 * M_1) x + b_1 + U_1 c),  h_l = g((W_l * M_l) h_(l-1) + b_l + U_l c),
        params = (V * M_V) h_L + b + (A * M_A) x

    A, the direct connections, only with `direct`. We differ from the paper in three ways: hidden units are sorted by degree (a
    relabelling, which makes the masks block-triangular, so that about half of the product is skipped);
    `hidden_degrees="sequential"` spreads the degrees evenly instead of drawing them; `residual` adds h_(l-1) to h_l.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: shape of one event; D is its size.
      params_size: parameters per dimension (1 for Bernoulli logits, 2 for location and log-scale, ...).
      hidden_units: widths of the hidden layers; equal ones with `residual`.
      activation: any Keras activation.
      input_order: "left-to-right", "right-to-left", "random" (by `seed`), or a permutation of 0..D-1: the flat index of the
        dimension that comes first, second, ...
      hidden_degrees: "sequential" or "random" (by `seed`).
      residual: h_l = h_(l-1) + g(...) from the second hidden layer on.
      direct: the paper's direct connections A from inputs to outputs.
      dropout: rate after each hidden layer, in training only.
      levels: as in `AutoregressiveNetwork`.
      condition_shape: shape of the condition, or None.
      output_initializer: initializer of V. A small one starts a flow near the identity.
      seed: of the random order and degrees.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        hidden_units: Sequence[int] = (512, 512),
        activation: str | Callable = "relu",
        input_order: str | Sequence[int] = "left-to-right",
        hidden_degrees: str = "sequential",
        residual: bool = False,
        direct: bool = False,
        dropout: float = 0.0,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        output_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        seed: int = 0,
        **kwargs,
    ):
        random = FrozenRandom(seed)
        order = _input_order(input_order, math.prod(event_shape), random)
        super().__init__(event_shape, params_size, order, levels=levels, condition_shape=condition_shape, **kwargs)
        self.hidden_units = checked_sizes("hidden_units", hidden_units)
        self.activation = keras.activations.get(activation)
        self.input_order, self.hidden_degrees, self.residual, self.seed = input_order, hidden_degrees, residual, seed
        self.output_initializer = keras.initializers.get(output_initializer)
        if not self.hidden_units:
            raise ValueError("`hidden_units` must name at least one hidden layer. Received: hidden_units=()")
        if residual and len(set(self.hidden_units)) > 1:
            raise ValueError(f"`residual` needs hidden layers of one width. Received: hidden_units={self.hidden_units}")

        lowest = 0 if condition_shape is not None or self.event_size == 1 else 1
        degrees = None
        self.degrees = []
        for units in self.hidden_units:
            if degrees is None or not residual:
                degrees = _hidden_degrees(hidden_degrees, units, lowest, self.event_size - 1, random)
            self.degrees.append(degrees)

        inputs = np.arange(1, self.event_size + 1)
        self.hidden, self.condition_dense = [], []
        for below, here in zip([inputs, *self.degrees[:-1]], self.degrees, strict=True):
            self.hidden.append(MaskedDense(here[None, :] >= below[:, None], dtype=self.dtype_policy))
            if condition_shape is not None:
                dense = keras.layers.Dense(len(here), use_bias=False, dtype=self.dtype_policy)
                dense.build((None, math.prod(self.condition_shape)))
                self.condition_dense.append(dense)
        mask = np.repeat(inputs, params_size)[None, :] > self.degrees[-1][:, None]
        self.out = MaskedDense(mask, kernel_initializer=self.output_initializer, dtype=self.dtype_policy)
        self.direct = None
        if direct:
            strictly_later = np.repeat(inputs, params_size)[None, :] > inputs[:, None]
            self.direct = MaskedDense(strictly_later, use_bias=False, kernel_initializer="zeros", dtype=self.dtype_policy)
        self.dropout = Dropout(dropout, seed=seed, dtype=self.dtype_policy)
        self.built = True

    def call(self, x, condition=None, training=None):
        inputs = h = reorder(ops.reshape(self.seen(x), (-1, self.event_size)), self.order, axis=1)
        for i, (layer, c) in enumerate(zip(self.hidden, self._condition_terms(condition), strict=True)):
            y = layer(h) if c is None else layer(h) + c
            y = self.dropout(self.activation(y), training=training)
            h = h + y if self.residual and i else y
        params = self.out(h) if self.direct is None else self.out(h) + self.direct(inputs)
        params = ops.reshape(params, (-1, self.event_size, self.params_size))
        params = reorder(params, np.argsort(self.order), axis=1)
        batch = ops.shape(x)[: len(x.shape) - len(self.event_shape)]
        return ops.reshape(params, (*(batch if len(batch) != 1 else [-1]), *self.event_shape, self.params_size))

    def _condition_terms(self, condition):
        if self.condition_shape is None:
            return [None] * len(self.hidden)
        c = ops.reshape(condition, (-1, math.prod(self.condition_shape)))
        return [dense(c) for dense in self.condition_dense]

    def start_at(self, params):
        params = ops.reshape(params, (self.event_size, self.params_size))
        self.out.bias.assign(ops.reshape(ops.take(params, self.order, axis=0), (-1,)))

    def initial_state(self, batch_size, condition=None):
        blocks = MADEBlocks(self, 1)
        return blocks.weights(condition), *blocks.empty(batch_size)

    def step(self, t, state):
        weights, x, hidden = state
        # What it emits is not kept: `see` tells.
        (_, params), hidden = MADEBlocks(self, 1).block(t, weights, x, hidden, lambda j, params: (params[:, 0], [params]))
        return params[0], (weights, x, hidden)

    def see(self, t, x, state):
        weights, known, hidden = state
        return weights, update_slice(known, [t, 0], self.seen(x)[None]), hidden

    def generate(self, emit, inputs, condition=None, *, output_shapes=()):
        inputs = keras.tree.map_structure(self._in_order, inputs)
        blocks, order = self.blocks(2 if is_exporting() else 1), ops.convert_to_tensor(self.order.astype("int32"))
        x, outputs = blocks.generate(emit, inputs, order, blocks.weights(condition), output_shapes=output_shapes)
        return self._in_event(x), [self._in_event(u) for u in outputs]

    def blocks(self, num_loops):
        """The layout that it generates in."""
        # Larger blocks are fewer operations, which count outside XLA; smaller ones are less to compile.
        return MADEBlocks(self, 4 if is_exporting() else 2, num_loops)

    def get_config(self):
        return {
            **self._common_config(),
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "input_order": self.input_order if isinstance(self.input_order, str) else self.order.tolist(),
            "hidden_degrees": self.hidden_degrees,
            "residual": self.residual,
            "direct": self.direct is not None,
            "dropout": self.dropout.rate,
            "output_initializer": keras.initializers.serialize(self.output_initializer),
            "seed": self.seed,
        }


def _input_order(input_order, size, random):
    if isinstance(input_order, str):
        orders = {
            "left-to-right": np.arange(size),
            "right-to-left": np.arange(size)[::-1],
            "random": random.permutation(size),
        }
        if input_order not in orders:
            raise ValueError(f"`input_order` must be one of {list(orders)} or a permutation. Received: {input_order!r}")
        return orders[input_order]
    return np.asarray(input_order)


def _hidden_degrees(kind, units, lowest, highest, random):
    highest = max(lowest, highest)
    if kind == "sequential":
        return lowest + (np.arange(units) * (highest - lowest + 1)) // units
    if kind == "random":
        return np.sort(random.integers(lowest, highest, units))
    raise ValueError(f"`hidden_degrees` must be 'sequential' or 'random'. Received: {kind!r}")
