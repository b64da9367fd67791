from collections.abc import Sequence

import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfdgm.bijectors.bijector import Bijector, data_shape_of, forward_and_log_det, inverse_and_log_det, latent_shape_of, taken_by


class Invert(Bijector):
    """x = f^-1(z): the two directions of a bijector exchanged; IAF is the inverted MAF (Kingma et al. 2016, arXiv:1606.04934).

    Args:
      bijector: f, ours or a stock TFP one. A `condition` is f's.
    """

    def __init__(self, bijector: tfb.Bijector, *, name: str | None = None):
        super().__init__(
            event_ndims=bijector.forward_min_event_ndims,
            latent_ndims=bijector.inverse_min_event_ndims,
            dtype=bijector.dtype,
            condition_shape=getattr(bijector, "condition_shape", None),
            name=name or f"invert_{bijector.name}",
        )
        self.bijector = bijector

    def latent_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return data_shape_of(self.bijector, event_shape)

    def data_shape(self, latent_shape: Sequence[int]) -> tuple[int, ...]:
        return latent_shape_of(self.bijector, latent_shape)

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        return inverse_and_log_det(self.bijector, z, condition, self.forward_min_event_ndims)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        return forward_and_log_det(self.bijector, x, condition, self.inverse_min_event_ndims)

    def adapt(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt_inverted(x, taken_by(self.bijector, condition))

    def adapt_inverted(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> None:
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt(z, taken_by(self.bijector, condition))
