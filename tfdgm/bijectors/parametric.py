import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from tfdgm.bijectors.bijector import Bijector
from tfdgm.bijectors.within_range import within_range
from tfdgm.elementwise import Elementwise


class Parametric(Bijector):
    """x_i = f(z_i; params_i), each dimension by parameters of its own: params = b, or with a condition c, W c + b.

    log |det dx/dz| = sum_i log f'(z_i), nats. W and b start at zero: the identity.

    Shapes: z, x [..., *event_shape]; log-det [...]; condition [..., *condition_shape].

    Args:
      elementwise: f, an `Elementwise`.
      event_shape: shape of z and x.
      condition_shape: shape of c, or None.

        x, log_det = Parametric(elementwise, (6,)).forward_and_log_det(z)  # [..., 6] -> [..., 6], [...]
    """

    def __init__(
        self,
        elementwise: Elementwise,
        event_shape: Sequence[int],
        *,
        condition_shape: Sequence[int] | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "parametric",
    ):
        self.elementwise = elementwise
        self.params = _Linear(condition_shape, (*event_shape, elementwise.params_size), dtype=dtype, name=name)
        super().__init__(
            event_shape=event_shape,
            dtype=tf.as_dtype(self.params.compute_dtype),
            condition_shape=condition_shape,
            name=name,
        )

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        x, log_det = self._apply(self.elementwise.forward, z, condition)
        return within_range(x), log_det

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self._apply(self.elementwise.inverse, x, condition)

    def _apply(self, function, value, condition):
        flat, batch = self._one_batch_axis(value, self.event_shape)
        params = self.params(self._condition_rows(condition, batch))
        params = tf.broadcast_to(params, (*tf.unstack(tf.shape(flat)), self.elementwise.params_size))
        result, log_det = function(params, flat)
        axes = list(range(1, 1 + len(self.event_shape)))
        return tf.reshape(result, tf.shape(value)), tf.reshape(tf.reduce_sum(log_det, axis=axes), batch)


class _Linear(keras.layers.Layer):
    """c [n, *condition_shape] or None -> W c + b, [n or 1, *shape]."""

    def __init__(self, condition_shape, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = shape
        self.bias = self.add_weight(shape=(math.prod(shape),), initializer="zeros", name="bias")
        self.kernel = None
        if condition_shape is not None:
            self.kernel = self.add_weight(
                shape=(math.prod(condition_shape), math.prod(shape)), initializer="zeros", name="kernel"
            )
        self.built = True

    def call(self, c):
        y = ops.convert_to_tensor(self.bias)[None]
        y = y if self.kernel is None else y + ops.matmul(ops.reshape(c, (-1, self.kernel.shape[0])), self.kernel)
        return ops.reshape(y, (-1, *self.shape))
