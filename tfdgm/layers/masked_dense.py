import itertools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfdgm._keras_compat import layers_of
from tfdgm.layers.exporting import is_exporting


class MaskedDense(keras.layers.Layer):
    """A dense layer with some connections cut: y = activation(x (K * mask) + b).

    x: [..., in], y: [..., out]. Germain et al. 2015, arXiv:1502.03509, eq. 9.

    Where sorting by degree makes the mask block-triangular, the blocks of zeros are not computed: the outputs are taken in a
    few column blocks, each from the inputs up to the last one it is connected to.

    Args:
      mask: [in, out] of 0 and 1 (array or nested lists); 1 keeps the connection.
      activation: any Keras activation.
      use_bias: whether to add b.
      kernel_initializer: any Keras initializer; drawn in full, then masked.
    """

    def __init__(
        self,
        mask: ArrayLike,
        *,
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mask = np.asarray(mask, bool)
        if self.mask.ndim != 2:
            raise ValueError(f"`mask` must be a matrix [in, out]. Received: mask.shape={self.mask.shape}")
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self._column_blocks = _column_blocks(self.mask)
        self._kernel_is_masked = False
        self.kernel = self.add_weight(shape=self.mask.shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.mask.shape[1],), initializer="zeros", name="bias") if use_bias else None
        self.built = True
        self.premask()

    def premask(self):
        """Sets the weights of cut connections to zero, which changes no output."""
        self.kernel.assign(ops.multiply(self.kernel, ops.cast(self.mask.astype("float32"), self.kernel.dtype)))

    def masked_kernel(self, rows=slice(None), columns=slice(None)):
        """The part [rows, columns] of K * mask, in the compute dtype."""
        kernel = ops.cast(self.kernel, self.compute_dtype)[rows, columns]
        mask = self.mask[rows, columns]
        if mask.all() or is_exporting():  # An exported kernel is masked once, by `premask`: no mask lies in the SavedModel.
            return kernel
        # As floats: TensorFlow writes a constant of booleans into a graph one by one, in seconds.
        return ops.multiply(kernel, ops.cast(mask.astype("float32"), self.compute_dtype))

    def call(self, x):
        parts = []
        for start, stop, used in self._column_blocks:
            inputs = x if used == self.mask.shape[0] else x[..., :used]
            parts.append(ops.matmul(inputs, self.masked_kernel(slice(0, used), slice(start, stop))))
        y = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
        if self.use_bias:
            y = y + self.bias
        return self.activation(y)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.mask.shape[1])

    def get_config(self):
        return {
            **super().get_config(),
            "mask": self.mask.astype(int).tolist(),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def premask(layer):
    """Sets the weights of all cut connections inside a layer to zero, W = W * M, which changes no output."""
    for inner in layers_of(layer):
        if isinstance(inner, MaskedDense):
            inner.premask()


def _column_blocks(mask, num_blocks=4, min_width=64):
    """[(first column, last column + 1, number of leading rows they use)], several where that saves a fifth of the product."""
    rows, columns = mask.shape
    num_blocks = max(1, min(num_blocks, columns // min_width, rows // min_width))
    edges = np.linspace(0, columns, num_blocks + 1).astype(int)
    blocks = []
    for start, stop in itertools.pairwise(edges):
        used = np.flatnonzero(mask[:, start:stop].any(axis=1))
        blocks.append((int(start), int(stop), int(used[-1]) + 1 if used.size else 1))
    work = sum((stop - start) * used for start, stop, used in blocks)
    return blocks if work < 0.8 * rows * columns else [(0, columns, rows)]
