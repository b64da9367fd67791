import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector
from tfdgm.bijectors.within_range import within_range
from tfdgm.layers import bounded_log_scale


class MaskedAutoregressive(Bijector):
    """x_i = z_i exp(a_i) + m_i with (m_i, r_i) = network(x_<i), a_i = bounded_log_scale(r_i).

    Papamakarios et al. 2017, arXiv:1705.07057, eq. 3-4. log |det dx/dz| = sum_i a_i. `inverse` (scoring) is one call of the
    network; `forward` (sampling) generates x position by position, at about the same arithmetic.

    Args:
      network: an `AutoregressiveNetwork` with params_size=2; its event_shape is that of z and x.
    """

    def __init__(self, network, *, name="masked_autoregressive"):
        if network.params_size != 2:
            raise ValueError(f"`network` must have params_size=2 (shift, log-scale). Received: {network.params_size}")
        super().__init__(
            event_ndims=len(network.event_shape),
            dtype=tf.as_dtype(network.compute_dtype),
            condition_shape=network.condition_shape,
            name=name,
        )
        self.network = network

    def forward_and_log_det(self, z, condition=None):
        flat, batch = self._one_batch_axis(z, self.network.event_shape)
        x, [log_det] = self.network.generate(self.emit, flat, self._condition_rows(condition, batch), output_shapes=[()])
        return tf.reshape(x, tf.shape(z)), tf.reshape(_sum(log_det), batch)

    def inverse_and_log_det(self, x, condition=None):
        flat, batch = self._one_batch_axis(x, self.network.event_shape)
        params = tf.cast(self.network(flat, condition=self._condition_rows(condition, batch)), flat.dtype)
        m, a = params[..., 0], self.log_scale(params)
        return tf.reshape((flat - m) * tf.exp(-a), tf.shape(x)), tf.reshape(-_sum(a), batch)

    @staticmethod
    def log_scale(params):
        """a of params [..., 2]."""
        return bounded_log_scale(params[..., 1])

    @staticmethod
    def emit(position, params, z_i):
        """(x_i [n], [log dx_i/dz_i]) of params [n, 2] and z_i [n], as the network's `generate` calls it."""
        a = MaskedAutoregressive.log_scale(params)
        return within_range(z_i * tf.exp(a) + params[..., 0]), [a]


def _sum(a):
    return tf.reduce_sum(a, axis=list(range(1, a.shape.rank)))
