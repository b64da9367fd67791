from collections.abc import Sequence

import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector


class Squeeze(Bijector):
    """Blocks of 2 x 2 pixels of x as the channels of one pixel of z; log-det 0: Dinh et al. 2017, arXiv:1605.08803, section 3.6.

    z[..., i, j, 4 c + 2 a + b] = x[..., 2 i + a, 2 j + b, c].

    Shapes: x [..., height, width, channels], z [..., height / 2, width / 2, 4 channels].

        Squeeze().latent_shape((32, 32, 3))  # (16, 16, 12)
    """

    def __init__(self, *, dtype: str | tf.DType | None = None, name: str = "squeeze"):
        super().__init__(event_ndims=3, dtype=dtype, name=name)

    def latent_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        *outer, height, width, channels = self._checked_shape(event_shape)
        if height % 2 or width % 2:
            raise ValueError(f"{self.name} takes images of even height and width. Received: {tuple(event_shape)}")
        return (*outer, height // 2, width // 2, 4 * channels)

    def data_shape(self, latent_shape: Sequence[int]) -> tuple[int, ...]:
        *outer, height, width, channels = self._checked_shape(latent_shape)
        if channels % 4:
            raise ValueError(f"{self.name} makes images of a multiple of 4 channels. Received: {tuple(latent_shape)}")
        return (*outer, 2 * height, 2 * width, channels // 4)

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        height, width, channels = self.data_shape(z.shape[-3:])
        blocks = tf.reshape(z, (-1, height // 2, width // 2, channels, 2, 2))
        x = tf.reshape(tf.transpose(blocks, (0, 1, 4, 2, 5, 3)), (*self._batch(z), height, width, channels))
        return x, self._zeros(z)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        self._check_takes(condition)
        height, width, channels = self.latent_shape(x.shape[-3:])
        blocks = tf.reshape(x, (-1, height, 2, width, 2, channels // 4))
        z = tf.reshape(tf.transpose(blocks, (0, 1, 3, 5, 2, 4)), (*self._batch(x), height, width, channels))
        return z, self._zeros(x)

    @staticmethod
    def _batch(value):
        return tf.unstack(tf.shape(value))[:-3]

    def _zeros(self, value):
        return tf.zeros(tf.shape(value)[:-3], value.dtype)
