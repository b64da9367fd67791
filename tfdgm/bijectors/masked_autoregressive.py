import keras
import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector
from tfdgm.bijectors.within_range import within_range
from tfdgm.elementwise import Affine, Elementwise


class MaskedAutoregressive(Bijector):
    """x_i = f(z_i; params_i) with params_i = network(x_<i).

    With `Affine` Papamakarios et al. 2017, arXiv:1705.07057, eq. 3-4; in general Huang et al. 2018, arXiv:1804.00779, eq. 6-7.
    log |det dx/dz| = sum_i log f'(z_i). `inverse` (scoring) is one call of the network; `forward` (sampling) generates x position
    by position, at about the same arithmetic.

    Args:
      network: an `AutoregressiveNetwork` with the map's params_size; its event_shape is that of z and x.
      elementwise: f, an `Elementwise`; by default `Affine()`.

        network = MADE((6,), params_size=elementwise.params_size)
        z, log_det = MaskedAutoregressive(network, elementwise).inverse_and_log_det(x)  # [..., 6] -> [..., 6], [...]
    """

    def __init__(
        self, network: keras.layers.Layer, elementwise: Elementwise | None = None, *, name: str = "masked_autoregressive"
    ):
        elementwise = Affine() if elementwise is None else elementwise
        if network.params_size != elementwise.params_size:
            raise ValueError(
                f"`network` must give the {elementwise.params_size} parameters of {type(elementwise).__name__} a position. "
                f"Received: network.params_size={network.params_size}"
            )
        super().__init__(
            event_shape=network.event_shape,
            dtype=tf.as_dtype(network.compute_dtype),
            condition_shape=network.condition_shape,
            name=name,
        )
        self.network, self.elementwise = network, elementwise

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        flat, batch = self._one_batch_axis(z, self.network.event_shape)
        x, [log_det] = self.network.generate(self.emit, flat, self._condition_rows(condition, batch), output_shapes=[()])
        return tf.reshape(x, tf.shape(z)), tf.reshape(_sum(log_det), batch)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        flat, batch = self._one_batch_axis(x, self.network.event_shape)
        params = tf.cast(self.network(flat, condition=self._condition_rows(condition, batch)), flat.dtype)
        z, log_det = self.elementwise.inverse(params, flat)
        return tf.reshape(z, tf.shape(x)), tf.reshape(_sum(log_det), batch)

    def emit(self, position: tf.Tensor, params: tf.Tensor, z_i: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(x_i [n], [log dx_i/dz_i]) of params [n, params_size] and z_i [n], as the network's `generate` calls it."""
        x_i, log_det = self.elementwise.forward(params, z_i)
        return within_range(x_i), [log_det]


def _sum(a):
    return tf.reduce_sum(a, axis=list(range(1, a.shape.rank)))
