import tensorflow as tf
from tensorflow_probability import bijectors as tfb


class Bijector(tfb.Bijector):
    """An invertible map of event vectors; z is the noise side, x the data side: x = forward(z).

    A subclass writes `forward_and_log_det(z, condition=None)` and `inverse_and_log_det(x, condition=None)`; each returns the
    value and the log-determinant together, from one run of its network. TFP's four public methods follow from these two. They
    do not use TFP's cache, which is keyed by tensor identity and so returns stale values after a training step.

    Shapes: z, x [..., *event]; log-det [...], the sum over the last `event_ndims` axes, in nats.

    Args:
      event_ndims: number of event axes.
      dtype: of z and x.
      condition_shape: shape of one `condition`, or None where the map depends on none.
    """

    def __init__(self, *, event_ndims=1, dtype=None, condition_shape=None, name=None):
        super().__init__(forward_min_event_ndims=event_ndims, dtype=dtype, name=name, parameters={})
        self.condition_shape = condition_shape

    def forward_and_log_det(self, z, condition=None):
        """z -> (x, log |det dx/dz|)."""
        raise NotImplementedError

    def inverse_and_log_det(self, x, condition=None):
        """x -> (z, log |det dz/dx|)."""
        raise NotImplementedError

    def adapt(self, x, condition=None):
        """Sets what depends on data (means, scales) from rows x [n, *event]; nothing by default."""

    def forward(self, x, name="forward", condition=None):
        with tf.name_scope(name):
            return self.forward_and_log_det(self._tensor(x), condition)[0]

    def inverse(self, y, name="inverse", condition=None):
        with tf.name_scope(name):
            return self.inverse_and_log_det(self._tensor(y), condition)[0]

    def forward_log_det_jacobian(self, x, event_ndims=None, name="forward_log_det_jacobian", condition=None):
        with tf.name_scope(name):
            return self._sum_over(self.forward_and_log_det(self._tensor(x), condition)[1], event_ndims)

    def inverse_log_det_jacobian(self, y, event_ndims=None, name="inverse_log_det_jacobian", condition=None):
        with tf.name_scope(name):
            return self._sum_over(self.inverse_and_log_det(self._tensor(y), condition)[1], event_ndims)

    def _tensor(self, x):
        return tf.convert_to_tensor(x, dtype_hint=self.dtype)

    def _one_batch_axis(self, x, event_shape):
        """x [*batch, *event_shape] -> (x [n, *event_shape], batch)."""
        return tf.reshape(x, (-1, *event_shape)), tf.shape(x)[: tf.rank(x) - len(event_shape)]

    def _condition_rows(self, condition, batch):
        """A condition, broadcast to [*batch, *condition_shape], as rows [n, *condition_shape]; None where there is none."""
        if self.condition_shape is None:
            return None
        if condition is None:
            raise ValueError(f"{self.name} needs a `condition` of shape [..., *{self.condition_shape}]. Received: None")
        condition = tf.broadcast_to(tf.cast(condition, self.dtype), tf.concat([batch, self.condition_shape], axis=0))
        return tf.reshape(condition, (-1, *self.condition_shape))

    def _sum_over(self, log_det, event_ndims):
        extra = 0 if event_ndims is None else int(event_ndims) - self.forward_min_event_ndims
        if extra < 0:
            raise ValueError(
                f"`event_ndims` must be at least {self.forward_min_event_ndims} for {self.name}. Received: {event_ndims}"
            )
        return tf.reduce_sum(log_det, axis=list(range(-extra, 0))) if extra else log_det


def forward_and_log_det(bijector, z, condition=None, event_ndims=1):
    """`forward_and_log_det` of any bijector: fused for ours, TFP's two methods (without `condition`) for stock ones."""
    if isinstance(bijector, Bijector):
        return bijector.forward_and_log_det(z, condition)
    return bijector.forward(z), bijector.forward_log_det_jacobian(z, event_ndims)


def inverse_and_log_det(bijector, x, condition=None, event_ndims=1):
    """`inverse_and_log_det` of any bijector, as `forward_and_log_det` above."""
    if isinstance(bijector, Bijector):
        return bijector.inverse_and_log_det(x, condition)
    return bijector.inverse(x), bijector.inverse_log_det_jacobian(x, event_ndims)
