import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from tfdgm.arguments import check_types, checked_sizes
from tfdgm.layers import Dropout


class DenseNetwork(keras.layers.Layer):
    """A multilayer perceptron x, c -> y: the conditioner of coupling layers.

    x: [n, input_size], condition: [n, *condition_shape] -> y: [n, output_size]. The last layer starts small, so a coupling
    starts near the identity.

    Args:
      input_size, output_size: widths of x and y.
      hidden_units: widths of the hidden layers.
      activation: any Keras activation.
      residual: adds each hidden layer's input to its output where the widths are equal.
      dropout: rate after each hidden layer, in training only.
      condition_shape: shape of the condition, or None; it joins x at the input.
      seed: of the dropout; another for each network of a model.
    """

    def __new__(cls, *args, **kwargs):
        check_types(cls.__init__, (None, *args), kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_units: Sequence[int] = (256, 256),
        activation: str | Callable = "relu",
        residual: bool = False,
        dropout: float = 0.0,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_size, self.output_size = input_size, output_size
        self.hidden_units = checked_sizes("hidden_units", hidden_units)
        self.activation = keras.activations.get(activation)
        self.residual, self.dropout_rate, self.seed = residual, dropout, seed
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        width = input_size + (0 if condition_shape is None else math.prod(self.condition_shape))
        self.hidden, self.dropout = [], Dropout(dropout, seed=seed, dtype=self.dtype_policy)
        for units in self.hidden_units:
            layer = keras.layers.Dense(units, activation=self.activation, dtype=self.dtype_policy)
            layer.build((None, width))
            self.hidden.append(layer)
            width = units
        self.out = keras.layers.Dense(
            output_size, kernel_initializer=keras.initializers.VarianceScaling(1e-4), dtype=self.dtype_policy
        )
        self.out.build((None, width))
        self.built = True

    def call(self, x, condition=None, training=None):
        h = x
        if self.condition_shape is not None:
            h = ops.concatenate([x, ops.reshape(condition, (-1, math.prod(self.condition_shape)))], axis=-1)
        for layer in self.hidden:
            y = self.dropout(layer(h), training=training)
            h = h + y if self.residual and h.shape[-1] == y.shape[-1] else y
        return self.out(h)

    def compute_output_shape(self, input_shape, **kwargs):
        return (*input_shape[:-1], self.output_size)

    def get_config(self):
        return {
            **super().get_config(),
            "input_size": self.input_size,
            "output_size": self.output_size,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "residual": self.residual,
            "dropout": self.dropout_rate,
            "condition_shape": self.condition_shape,
            "seed": self.seed,
        }
