from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfdgm.bijectors.bijector import Bijector, data_shape_of, forward_and_log_det, inverse_and_log_det, latent_shape_of, taken_by


class Chain(Bijector):
    """x = f_1(f_2(... f_K(z))): TFP's order, so the first bijector is nearest to the data. Each network runs once.

    log |det dx/dz| = sum_k log |det df_k|, each summed over all event axes: an ActNorm over channels, in a chain over images
    [height, width, channels], counts at every pixel.

    Args:
      bijectors: list of bijectors, ours or stock TFP ones. Those that take a `condition` all take one of the same shape, and are
        given it.
      event_ndims: number of x's event axes; by default as many as the part that needs most, and at least 1.
      event_shape: x's event shape, which each part is asked whether it takes; instead of event_ndims. `Flow` asks, too.
      dtype: of z and x; by default that of the parts.

    Raises:
      ValueError: where the parts take conditions of several shapes or are of several dtypes, or need more event axes than there
        are.
    """

    def __init__(
        self,
        bijectors: Iterable[tfb.Bijector],
        *,
        event_ndims: int | None = None,
        event_shape: Sequence[int] | None = None,
        dtype: str | tf.DType | None = None,
        name: str = "chain",
    ):
        bijectors = list(bijectors)
        more = np.cumsum([0, *(b.forward_min_event_ndims - b.inverse_min_event_ndims for b in bijectors)])
        needed = max([1, *(b.inverse_min_event_ndims - m for b, m in zip(bijectors, more[:-1], strict=True))])
        event_ndims = event_ndims if event_shape is None else len(event_shape)
        if event_ndims is not None and event_ndims < needed:
            raise ValueError(f"`event_ndims` must be at least {needed} for these bijectors. Received: event_ndims={event_ndims}")
        if dtype is None:
            dtype = _the_one("dtype", [(b.name, b.dtype.name) for b in bijectors if isinstance(b.dtype, tf.DType)])
        shapes = [(b.name, getattr(b, "condition_shape", None)) for b in bijectors]
        #: Event axes on the data side of each part, and beyond the last.
        self._ndims = [int((needed if event_ndims is None else event_ndims) + m) for m in more]
        super().__init__(
            event_ndims=self._ndims[0],
            latent_ndims=self._ndims[-1],
            dtype=None if dtype is None else tf.as_dtype(dtype),
            condition_shape=_the_one("condition_shape", [(name, tuple(shape)) for name, shape in shapes if shape is not None]),
            name=name,
        )
        self.bijectors = bijectors
        if event_shape is not None:
            self.latent_shape(event_shape)

    def latent_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        for bijector in self.bijectors:
            event_shape = latent_shape_of(bijector, event_shape)
        return tuple(event_shape)

    def data_shape(self, latent_shape: Sequence[int]) -> tuple[int, ...]:
        for bijector in reversed(self.bijectors):
            latent_shape = data_shape_of(bijector, latent_shape)
        return tuple(latent_shape)

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self._through(forward_and_log_det, self._from_latent(), z, condition)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self._through(inverse_and_log_det, self._from_data(), x, condition)

    def _from_data(self):
        """(part, event axes on the side of the data), in the order from the data to z."""
        return list(zip(self.bijectors, self._ndims[:-1], strict=True))

    def _from_latent(self):
        """(part, event axes on the side of z), in the order from z to the data."""
        return list(zip(self.bijectors, self._ndims[1:], strict=True))[::-1]

    def _through(self, apply, parts, value, condition):
        self._check_takes(condition)
        first = parts[0][1] if parts else self._ndims[0]
        total = tf.zeros(tf.shape(value)[: tf.rank(value) - first], value.dtype)
        for bijector, ndims in parts:
            value, log_det = apply(bijector, value, condition, ndims)
            total += log_det
        return value, total

    def adapt(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        for bijector, ndims in self._from_data():
            if isinstance(bijector, Bijector):
                bijector.adapt(x, taken_by(bijector, condition))
            x, _ = inverse_and_log_det(bijector, x, condition, ndims)

    def adapt_inverted(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        for bijector, ndims in self._from_latent():
            if isinstance(bijector, Bijector):
                bijector.adapt_inverted(z, taken_by(bijector, condition))
            z, _ = forward_and_log_det(bijector, z, condition, ndims)


def _the_one(what, of_parts):
    """The value that all parts share, None where there are none."""
    (first, value), *rest = of_parts or [(None, None)]
    for name, other in rest:
        if other != value:
            raise ValueError(f"The parts of a chain must share one {what}. Received: {value} of {first} and {other} of {name}")
    return value
