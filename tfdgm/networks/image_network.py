import abc
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfdgm.layers import take_row
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork, keep


class ImageNetwork(AutoregressiveNetwork):
    """An autoregressive network over images, in raster order: row after row, and R, G, B within a pixel.

    A position t is a sub-pixel, t = (i width + j) channels + c. Much of what a masked convolution adds up lies in the rows above,
    so it is computed a row at a time; a step adds what lies in its own row. The state has three parts:

        weights: as prepared once; above: renewed at the start of a row; row: renewed at every step

    and holds a few rows of activations, however many pixels are done. A subclass writes `call`, `initial_state`, which returns
    these three, `start_row`, `step_in_row` and `see_in_row`. In `generate` a channel is a Python integer, in `step` a tensor.

    Args:
      event_shape: (height, width) or (height, width, channels).
      params_size: parameters of one sub-pixel.
      levels, condition_shape: as in `AutoregressiveNetwork`.
    """

    def __init__(self, event_shape: Sequence[int], params_size: int, **kwargs):
        event_shape = tuple(event_shape)
        if len(event_shape) not in (2, 3) or min(event_shape) < 1:
            raise ValueError(
                f"`event_shape` must be (height, width) or (height, width, channels). Received: event_shape={event_shape}"
            )
        super().__init__(event_shape, params_size, np.arange(np.prod(event_shape)), **kwargs)
        self.height, self.width = event_shape[:2]
        self.num_channels = event_shape[2] if len(event_shape) == 3 else 1

    @abc.abstractmethod
    def start_row(self, i, weights, above, row):
        """`above` for row i, which comes after the finished `row`."""

    @abc.abstractmethod
    def step_in_row(self, column, channel, weights, above, row):
        """(params [n, params_size] of one sub-pixel, the new `row`)."""

    @abc.abstractmethod
    def see_in_row(self, column, channel, x, row):
        """`row` with the value x [n] of one sub-pixel, as it is `seen`."""

    def generate(self, emit, inputs, condition=None, *, output_shapes=()):
        # A loop over rows around one over their pixels: asking at each pixel whether a row begins would double the time.
        inputs = keras.tree.map_structure(self._in_order, inputs)
        n = ops.shape(keras.tree.flatten(inputs)[0])[1]
        weights, above, row = self.initial_state(n, condition)
        kept = [ops.zeros((self.event_size, n, *shape), self.compute_dtype) for shape in ((), *output_shapes)]

        def one_row(i, kept, above, row):
            above = self.start_row(i, weights, above, row)

            def one_pixel(j, kept, row):
                for c in range(self.num_channels):
                    t = (i * self.width + j) * self.num_channels + c
                    params_t, row = self.step_in_row(j, c, weights, above, row)
                    at_t = keras.tree.map_structure(lambda u, t=t: take_row(u, t), inputs)
                    x_t, outputs = emit(t, params_t, at_t)
                    x_t = ops.cast(x_t, self.compute_dtype)
                    row = self.see_in_row(j, c, self.seen(x_t), row)
                    kept = keep(kept, t, [u[None] for u in (x_t, *outputs)])
                return j + 1, kept, row

            loop = ops.convert_to_tensor(0), kept, row
            _, kept, row = ops.while_loop(lambda j, *_: j < self.width, one_pixel, loop, maximum_iterations=self.width)
            return i + 1, kept, above, row

        loop = ops.convert_to_tensor(0), kept, above, row
        _, kept, _, _ = ops.while_loop(lambda i, *_: i < self.height, one_row, loop, maximum_iterations=self.height)
        x, *outputs = [self._in_event(u) for u in kept]
        return x, outputs

    def step(self, t, state):
        weights, above, row = state
        i = t // (self.width * self.num_channels)
        first = ops.equal(t % (self.width * self.num_channels), 0)
        above = ops.cond(first, lambda: self.start_row(i, weights, above, row), lambda: above)
        params, row = self.step_in_row(*self._place(t), weights, above, row)
        return params, (weights, above, row)

    def see(self, t, x, state):
        weights, above, row = state
        return weights, above, self.see_in_row(*self._place(t), self.seen(x), row)

    def _place(self, t):
        """(column, channel) of position t."""
        return t // self.num_channels % self.width, t % self.num_channels

    def _check_kernel_sizes(self, **sizes):
        for name, size in sizes.items():
            if size < 3 or size % 2 == 0:
                raise ValueError(f"`{name}` must be odd, and 3 or more. Received: {name}={size}")

    def _as_image(self, x):
        """[n, *event_shape] -> [n, height, width, channels]."""
        return ops.reshape(x, (-1, self.height, self.width, self.num_channels))

    def _as_params(self, features):
        """[n, height, width, channels * params_size] -> [n, *event_shape, params_size]."""
        return ops.reshape(features, (-1, *self.event_shape, self.params_size))
