import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector, forward_and_log_det, inverse_and_log_det, taken_by


class Chain(Bijector):
    """x = f_1(f_2(... f_K(z))): TFP's order, so the first bijector is nearest to the data. Each network runs once.

    log |det dx/dz| = sum_k log |det df_k|, each summed over all event axes: an ActNorm over channels, in a chain over images
    [height, width, channels], counts at every pixel.

    Args:
      bijectors: list of bijectors, ours or stock TFP ones. Those that take a `condition` all take one of the same shape, and are
        given it.
      event_ndims: number of event axes; by default as many as the part that needs most, and at least 1.
      dtype: of z and x; by default that of the parts.

    Raises:
      ValueError: where the parts take conditions of several shapes or are of several dtypes, or need more event axes than there
        are.
    """

    def __init__(self, bijectors, *, event_ndims=None, dtype=None, name="chain"):
        bijectors = list(bijectors)
        needed = max([1, *(max(b.forward_min_event_ndims, b.inverse_min_event_ndims) for b in bijectors)])
        if event_ndims is not None and event_ndims < needed:
            raise ValueError(f"`event_ndims` must be at least {needed} for these bijectors. Received: event_ndims={event_ndims}")
        if dtype is None:
            dtype = _the_one("dtype", [(b.name, b.dtype.name) for b in bijectors if isinstance(b.dtype, tf.DType)])
        shapes = [(b.name, getattr(b, "condition_shape", None)) for b in bijectors]
        super().__init__(
            event_ndims=needed if event_ndims is None else event_ndims,
            dtype=None if dtype is None else tf.as_dtype(dtype),
            condition_shape=_the_one("condition_shape", [(name, tuple(shape)) for name, shape in shapes if shape is not None]),
            name=name,
        )
        self.bijectors = bijectors

    def forward_and_log_det(self, z, condition=None):
        return self._through(forward_and_log_det, reversed(self.bijectors), z, condition)

    def inverse_and_log_det(self, x, condition=None):
        return self._through(inverse_and_log_det, self.bijectors, x, condition)

    def _through(self, apply, bijectors, value, condition):
        self._check_takes(condition)
        total = tf.zeros([], value.dtype)
        for bijector in bijectors:
            value, log_det = apply(bijector, value, condition, self.forward_min_event_ndims)
            total += log_det
        shape = tf.shape(value)
        return value, tf.broadcast_to(total, shape[: tf.size(shape) - self.forward_min_event_ndims])

    def adapt(self, x, condition=None):
        for bijector in self.bijectors:
            if isinstance(bijector, Bijector):
                bijector.adapt(x, taken_by(bijector, condition))
            x, _ = inverse_and_log_det(bijector, x, condition, self.forward_min_event_ndims)

    def adapt_inverted(self, z, condition=None):
        for bijector in reversed(self.bijectors):
            if isinstance(bijector, Bijector):
                bijector.adapt_inverted(z, taken_by(bijector, condition))
            z, _ = forward_and_log_det(bijector, z, condition, self.forward_min_event_ndims)


def _the_one(what, of_parts):
    """The value that all parts share, None where there are none."""
    (first, value), *rest = of_parts or [(None, None)]
    for name, other in rest:
        if other != value:
            raise ValueError(f"The parts of a chain must share one {what}. Received: {value} of {first} and {other} of {name}")
    return value
