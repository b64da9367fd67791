import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector, forward_and_log_det, inverse_and_log_det


class Chain(Bijector):
    """x = f_1(f_2(... f_K(z))): TFP's order, so the first bijector is nearest to the data. Each network runs once.

    log |det dx/dz| = sum_k log |det df_k|.

    Args:
      bijectors: list of bijectors, ours or stock TFP ones; all see the same `condition` (stock ones do not).
    """

    def __init__(self, bijectors, *, event_ndims=1, dtype=None, name="chain"):
        super().__init__(event_ndims=event_ndims, dtype=dtype, name=name)
        self.bijectors = list(bijectors)

    def forward_and_log_det(self, z, condition=None):
        return self._through(forward_and_log_det, reversed(self.bijectors), z, condition)

    def inverse_and_log_det(self, x, condition=None):
        return self._through(inverse_and_log_det, self.bijectors, x, condition)

    def _through(self, apply, bijectors, value, condition):
        total = tf.zeros([], value.dtype)
        for bijector in bijectors:
            value, log_det = apply(bijector, value, condition, self.forward_min_event_ndims)
            total += log_det
        shape = tf.shape(value)
        return value, tf.broadcast_to(total, shape[: tf.size(shape) - self.forward_min_event_ndims])

    def adapt(self, x, condition=None):
        for bijector in self.bijectors:
            if isinstance(bijector, Bijector):
                bijector.adapt(x, condition)
            x, _ = inverse_and_log_det(bijector, x, condition, self.forward_min_event_ndims)
