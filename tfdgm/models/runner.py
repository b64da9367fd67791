import math

import keras
import numpy as np
import tensorflow as tf

from tfdgm.traced import traced

_METHODS = {"log_prob": "log_prob_of_rows", "sample": "from_noise", "complete": "complete_from_noise"}
_MOST = 4096


class Runner:
    """Calls a model's distribution on any number of rows: compiled once, in chunks of bounded memory.

        runner("log_prob", x, condition)             # [n, *event_shape] -> [n]
        runner("sample", seeds, condition)           # int32 [n, 2] -> [n, *event_shape]

    Args:
      model: its `distribution`, and `use_xla`, are read at each call.
    """

    def __init__(self, model: keras.Model):
        self._model, self.functions = model, {}

    def __call__(self, name, rows, condition=None, *given):
        """A method of the distribution, "sample" from seeds, or "complete" from seeds, given x and known.

        Args:
          name: of a method of rows, `given` and `condition`; or "log_prob", "sample", "complete".
          rows, condition, given: arrays [n, ...], or None.

        Returns:
          What the method does: a tensor, or a structure of tensors, [n, ...].
        """
        n = len(rows)
        # A draw keeps no more than a cache of what was computed.
        is_draw = name in ("sample", "complete")
        at_once = _rows_of(16 * math.prod(self._model.event_shape)) if is_draw else self.rows_at_once
        if n > at_once:
            parts = [slice(start, start + at_once) for start in range(0, n, at_once)]
            chunks = [self(name, *(None if a is None else a[part] for a in (rows, condition, *given))) for part in parts]
            return tf.nest.map_structure(lambda *of_chunks: tf.concat(of_chunks, axis=0), *chunks)
        # Padded to a power of two, because XLA compiles anew for every size. Arrays are padded by NumPy, tensors by one gather:
        # every operation of TensorFlow outside the compiled function costs some percent of a score's time.
        padding = np.minimum(np.arange(max(16, 2 ** max(n - 1, 0).bit_length())), max(n - 1, 0))
        rows, condition, *given = (None if a is None else _padded(a, padding) for a in (rows, condition, *given))
        if is_draw:
            rows = self._compiled("draw_noise", jit_compile=None)(rows)
        result = self._compiled(_METHODS.get(name, name), jit_compile=self._model.use_xla)(rows, *given, condition)
        return result if n == len(padding) else tf.nest.map_structure(lambda value: tf.gather(value, np.arange(n)), result)

    @property
    def rows_at_once(self) -> int:
        """How many rows a score computes at once; more come one part after the other, in the memory of one: 4096, or less where
        a row has many parameters and activations, as some hundred images of 28x28 under a network over pixels."""
        return _rows_of(self._model.distribution.numbers_a_row)

    def _compiled(self, name, jit_compile):
        """A method of the distribution, compiled at its first use."""
        if name not in self.functions:
            method = getattr(self._model.distribution, name)
            # From the second size on one trace serves all; XLA still compiles for each.
            self.functions[name] = traced(method, jit_compile=jit_compile, reduce_retracing=True)
        return self.functions[name]


def of_batch(values: tf.Tensor, batch: tuple[int, ...]) -> tf.Tensor:
    """Results [n, ...] of n rows as [*batch, ...]."""
    return values if len(batch) == 1 else tf.reshape(values, (*batch, *values.shape[1:]))


def _padded(values, padding):
    if tf.is_tensor(values):
        return tf.gather(values, padding) if len(values) else tf.zeros((len(padding), *values.shape[1:]), values.dtype)
    return values[padding] if len(values) else np.zeros((len(padding), *values.shape[1:]), values.dtype)


def _rows_of(numbers):
    """How many rows of so many numbers go into 128 MiB of float32: a power of two, 16 to 4096."""
    return min(_MOST, max(16, 2 ** int(math.log2(2**25 / numbers))))
