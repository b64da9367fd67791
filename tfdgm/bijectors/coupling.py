from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm.bijectors.bijector import Bijector
from tfdgm.bijectors.within_range import within_range
from tfdgm.elementwise import Elementwise
from tfdgm.layers import reorder


class Coupling(Bijector):
    """x_i = z_i where the mask is True, else x_i = f(z_i; params_i) with params = network(z where the mask is True).

    Dinh et al. 2017, arXiv:1605.08803, eq. 6-9, for any elementwise f: with `Additive` NICE, with `Affine` RealNVP, with a spline
    Durkan et al. 2019, arXiv:1906.04032. log |det dx/dz| = sum_i log f'(z_i). Both directions cost one call of the network.

    Over vectors [..., D], the network sees the P passed dimensions alone: `DenseNetwork` or any Keras layer
    [n, P] -> [n, params_size (D - P)], the first parameter of all dimensions first. Over events of more axes, as images, it sees
    all of z with zeros where the mask is False: [n, *event] -> [n, *event, params_size].

    Args:
      network: as above; it is given `condition` where there is one.
      elementwise: f, an `Elementwise`.
      mask: array of bool of an event's shape: which dimensions pass unchanged; some, not all.
      condition_shape: shape of the condition that the network takes, or None.

        mask = np.arange(6) < 3
        network = DenseNetwork(3, elementwise.params_size * 3)
        x, log_det = Coupling(network, elementwise, mask).forward_and_log_det(z)  # [..., 6] -> [..., 6], [...]
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        elementwise: Elementwise,
        mask: ArrayLike,
        *,
        condition_shape: Sequence[int] | None = None,
        name: str = "coupling",
    ):
        mask = np.asarray(mask)
        if mask.dtype != bool or not mask.ndim or mask.all() or not mask.any():
            raise ValueError(f"`mask` must be an array of True and False, of both. Received: {mask.tolist()}")
        super().__init__(
            event_shape=mask.shape, dtype=tf.as_dtype(network.compute_dtype), condition_shape=condition_shape, name=name
        )
        self.network, self.elementwise, self.mask = network, elementwise, mask
        self._order, self._num_passed = np.argsort(~mask.ravel(), kind="stable"), int(mask.sum())

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self._apply(lambda params, z: _finite(*self.elementwise.forward(params, z)), z, condition)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        return self._apply(self.elementwise.inverse, x, condition)

    def _apply(self, function, value, condition):
        flat, batch = self._one_batch_axis(value, self.mask.shape)
        condition = self._condition_rows(condition, batch)
        given = {} if condition is None else {"condition": condition}
        result, log_det = (self._of_vectors if self.mask.ndim == 1 else self._of_images)(function, flat, given)
        return tf.reshape(result, tf.shape(value)), tf.reshape(log_det, batch)

    def _of_vectors(self, function, value, given):
        value = reorder(value, self._order, axis=1)
        passed, moved = value[:, : self._num_passed], value[:, self._num_passed :]
        params = tf.cast(self.network(passed, **given), value.dtype)
        params = tf.stack(tf.split(params, self.elementwise.params_size, axis=1), axis=-1)
        moved, log_det = function(params, moved)
        return reorder(tf.concat([passed, moved], axis=1), np.argsort(self._order), axis=1), tf.reduce_sum(log_det, axis=1)

    def _of_images(self, function, value, given):
        zeros = tf.zeros_like(value)
        params = tf.cast(self.network(tf.where(self.mask, value, zeros), **given), value.dtype)
        moved, log_det = function(params, value)
        axes = list(range(1, 1 + self.mask.ndim))
        return tf.where(self.mask, value, moved), tf.reduce_sum(tf.where(self.mask, zeros, log_det), axis=axes)


def _finite(x, log_det):
    return within_range(x), log_det
