import abc
from collections.abc import Sequence

import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfdgm.keras_weights import KerasWeights


class Bijector(KerasWeights, tfb.Bijector, abc.ABC):
    """An invertible map of event vectors; z is the noise side, x the data side: x = forward(z).

    A subclass writes `forward_and_log_det(z, condition=None)` and `inverse_and_log_det(x, condition=None)`; each returns the
    value and the log-determinant together, from one run of its network. TFP's four public methods follow from these two. They
    do not use TFP's cache, which is keyed by tensor identity and so returns stale values after a training step.

    A `condition` that the map does not take is a ValueError, in these methods and in the pair.

    Shapes: x [..., *event], z [..., *latent]; log-det [...], the sum over the event axes, in nats. A map that changes the shape
    gives `latent_ndims` and overrides `latent_shape` and `data_shape`.

    Args:
      event_ndims: number of x's event axes.
      event_shape: their shape, where the map takes one alone; instead of event_ndims.
      latent_ndims: number of z's event axes; by default as many.
      dtype: of z and x.
      condition_shape: shape of one `condition`, or None where the map depends on none.
    """

    def __init__(
        self,
        *,
        event_ndims: int | None = 1,
        event_shape: Sequence[int] | None = None,
        latent_ndims: int | None = None,
        dtype: str | tf.DType | None = None,
        condition_shape: Sequence[int] | None = None,
        name: str | None = None,
    ):
        self.event_shape = None if event_shape is None else tuple(event_shape)
        event_ndims = event_ndims if event_shape is None else len(self.event_shape)
        super().__init__(
            forward_min_event_ndims=event_ndims if latent_ndims is None else latent_ndims,
            inverse_min_event_ndims=event_ndims,
            dtype=dtype,
            name=name,
            parameters={},
        )
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)

    def latent_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of z where x has `event_shape`, which may have more axes than the map needs.

        Raises:
          ValueError: for a shape that the map does not take.
        """
        return self._checked_shape(event_shape)

    def data_shape(self, latent_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of x where z has `latent_shape`: the inverse of `latent_shape`."""
        return self._checked_shape(latent_shape)

    def _checked_shape(self, shape):
        shape, wanted = tuple(shape), self.event_shape
        if len(shape) < self.inverse_min_event_ndims or (wanted is not None and shape[len(shape) - len(wanted) :] != wanted):
            expected = f"of shape {wanted}" if wanted is not None else f"of {self.inverse_min_event_ndims} axes or more"
            raise ValueError(f"{self.name} takes events {expected}. Received: {shape}")
        return shape

    @abc.abstractmethod
    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """z -> (x, log |det dx/dz|)."""

    @abc.abstractmethod
    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """x -> (z, log |det dz/dx|)."""

    def adapt(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        """Sets what depends on data (means, scales) from rows x [n, *event], for their `inverse`; nothing by default."""

    def adapt_inverted(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        """`adapt` of the inverted bijector: from rows z [n, *event], for their `forward`; nothing by default."""

    def forward(self, x: tf.Tensor, name: str = "forward", condition: tf.Tensor | None = None) -> tf.Tensor:
        self._check_takes(condition)
        with tf.name_scope(name):
            return self.forward_and_log_det(self._tensor(x), condition)[0]

    def inverse(self, y: tf.Tensor, name: str = "inverse", condition: tf.Tensor | None = None) -> tf.Tensor:
        self._check_takes(condition)
        with tf.name_scope(name):
            return self.inverse_and_log_det(self._tensor(y), condition)[0]

    def forward_log_det_jacobian(
        self,
        x: tf.Tensor,
        event_ndims: int | None = None,
        name: str = "forward_log_det_jacobian",
        condition: tf.Tensor | None = None,
    ) -> tf.Tensor:
        self._check_takes(condition)
        with tf.name_scope(name):
            return _sum_over(self.forward_and_log_det(self._tensor(x), condition)[1], event_ndims, self.forward_min_event_ndims)

    def inverse_log_det_jacobian(
        self,
        y: tf.Tensor,
        event_ndims: int | None = None,
        name: str = "inverse_log_det_jacobian",
        condition: tf.Tensor | None = None,
    ) -> tf.Tensor:
        self._check_takes(condition)
        with tf.name_scope(name):
            return _sum_over(self.inverse_and_log_det(self._tensor(y), condition)[1], event_ndims, self.inverse_min_event_ndims)

    def _forward_event_shape(self, input_shape):
        return self._static(self.data_shape, input_shape)

    def _inverse_event_shape(self, output_shape):
        return self._static(self.latent_shape, output_shape)

    @staticmethod
    def _static(function, shape):
        return tf.TensorShape(function(shape.as_list()) if shape.is_fully_defined() else None)

    def _tensor(self, x):
        return tf.convert_to_tensor(x, dtype_hint=self.dtype)

    def _check_takes(self, condition):
        if self.condition_shape is None and condition is not None:
            raise ValueError(f"{self.name} takes no `condition` (condition_shape=None). Received one.")

    def _one_batch_axis(self, x, event_shape):
        """x [*batch, *event_shape] -> (x [n, *event_shape], batch)."""
        return tf.reshape(x, (-1, *event_shape)), tf.shape(x)[: tf.rank(x) - len(event_shape)]

    def _condition_rows(self, condition, batch):
        """A condition, broadcast to [*batch, *condition_shape], as rows [n, *condition_shape]; None where there is none."""
        self._check_takes(condition)
        if self.condition_shape is None:
            return None
        if condition is None:
            raise ValueError(f"{self.name} needs a `condition` of shape [..., *{self.condition_shape}]. Received: None")
        condition = tf.broadcast_to(tf.cast(condition, self.dtype), tf.concat([batch, self.condition_shape], axis=0))
        return tf.reshape(condition, (-1, *self.condition_shape))


def _sum_over(log_det, event_ndims, least):
    """A log-det summed over the axes that `event_ndims` counts beyond `least`."""
    extra = 0 if event_ndims is None else int(event_ndims) - least
    if extra < 0:
        raise ValueError(f"`event_ndims` must be at least {least}. Received: {event_ndims}")
    return tf.reduce_sum(log_det, axis=list(range(-extra, 0))) if extra else log_det


def forward_and_log_det(
    bijector: tfb.Bijector, z: tf.Tensor, condition: tf.Tensor | None = None, event_ndims: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """`forward_and_log_det` of any bijector: fused for ours, TFP's two methods for stock ones.

    Args:
      bijector: ours or a stock TFP one.
      z: [..., *event].
      condition: given to a bijector that takes one, and left out for others.
      event_ndims: how many axes of z the log-det is summed over; by default those of the bijector, and at least 1 of a stock one.
    """
    if isinstance(bijector, Bijector):
        x, log_det = bijector.forward_and_log_det(z, taken_by(bijector, condition))
        return x, _sum_over(log_det, event_ndims, bijector.forward_min_event_ndims)
    event_ndims = max(1, bijector.forward_min_event_ndims) if event_ndims is None else event_ndims
    return bijector.forward(z), bijector.forward_log_det_jacobian(z, event_ndims)


def inverse_and_log_det(
    bijector: tfb.Bijector, x: tf.Tensor, condition: tf.Tensor | None = None, event_ndims: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """`inverse_and_log_det` of any bijector, as `forward_and_log_det` above."""
    if isinstance(bijector, Bijector):
        z, log_det = bijector.inverse_and_log_det(x, taken_by(bijector, condition))
        return z, _sum_over(log_det, event_ndims, bijector.inverse_min_event_ndims)
    event_ndims = max(1, bijector.inverse_min_event_ndims) if event_ndims is None else event_ndims
    return bijector.inverse(x), bijector.inverse_log_det_jacobian(x, event_ndims)


def latent_shape_of(bijector: tfb.Bijector, event_shape: Sequence[int]) -> tuple[int, ...]:
    """`latent_shape` of any bijector, ours or a stock one."""
    if isinstance(bijector, Bijector):
        return bijector.latent_shape(event_shape)
    return tuple(bijector.inverse_event_shape(tf.TensorShape(event_shape)).as_list())


def data_shape_of(bijector: tfb.Bijector, latent_shape: Sequence[int]) -> tuple[int, ...]:
    """`data_shape` of any bijector, ours or a stock one."""
    if isinstance(bijector, Bijector):
        return bijector.data_shape(latent_shape)
    return tuple(bijector.forward_event_shape(tf.TensorShape(latent_shape)).as_list())


def taken_by(bijector: tfb.Bijector, condition: tf.Tensor | None) -> tf.Tensor | None:
    """`condition`, or None where the bijector takes none, as stock ones."""
    return None if getattr(bijector, "condition_shape", None) is None else condition
