import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector
from tfdgm.bijectors.within_range import within_range
from tfdgm.layers import bounded_log_scale


class AffineCoupling(Bijector):
    """x_1 = z_1, x_2 = z_2 exp(a) + m with (m, r) = network(z_1), a = bounded_log_scale(r).

    Dinh et al. 2017, arXiv:1605.08803, eq. 4-6; z_1 is the first `num_passed` dimensions, z_2 the rest. log |det dx/dz| = sum a.
    Both directions cost one call of the network.

    Args:
      network: `DenseNetwork` or any Keras layer [n, num_passed] -> [n, 2 * (D - num_passed)], m first.
      num_passed: dimensions that pass unchanged.
      condition_shape: shape of the condition that the network takes, or None.
    """

    def __init__(self, network, num_passed, *, condition_shape=None, name="affine_coupling"):
        super().__init__(dtype=tf.as_dtype(network.compute_dtype), condition_shape=condition_shape, name=name)
        self.network, self.num_passed = network, num_passed

    def forward_and_log_det(self, z, condition=None):
        z_1, z_2 = z[..., : self.num_passed], z[..., self.num_passed :]
        m, a = self._shift_and_log_scale(z_1, condition)
        return tf.concat([z_1, within_range(z_2 * tf.exp(a) + m)], axis=-1), tf.reduce_sum(a, axis=-1)

    def inverse_and_log_det(self, x, condition=None):
        x_1, x_2 = x[..., : self.num_passed], x[..., self.num_passed :]
        m, a = self._shift_and_log_scale(x_1, condition)
        return tf.concat([x_1, (x_2 - m) * tf.exp(-a)], axis=-1), -tf.reduce_sum(a, axis=-1)

    def _shift_and_log_scale(self, passed, condition):
        flat, batch = self._one_batch_axis(passed, (self.num_passed,))
        condition = self._condition_rows(condition, batch)
        extra = {} if condition is None else {"condition": condition}
        params = tf.cast(self.network(flat, **extra), flat.dtype)
        m, r = tf.split(tf.reshape(params, tf.concat([batch, [params.shape[-1]]], axis=0)), 2, axis=-1)
        return m, bounded_log_scale(r)
