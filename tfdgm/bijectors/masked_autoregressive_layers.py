from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdgm.bijectors.bijector import Bijector
from tfdgm.bijectors.masked_autoregressive import MaskedAutoregressive
from tfdgm.bijectors.within_range import within_range
from tfdgm.elementwise import Elementwise
from tfdgm.layers import take_row


class MaskedAutoregressiveLayers(Bijector):
    """x = f_1(f_2(... f_K(z))), each f_k a `MaskedAutoregressive` over a MADE of its own: Papamakarios et al. 2017,
    arXiv:1705.07057, section 3. With `inverse`, x = f_1^-1(f_2^-1(... f_K^-1(z))): Kingma et al. 2016, arXiv:1606.04934.

    log |det dx/dz| is the sum over the layers. The same as a `Chain` of them, but the direction that goes position by position is
    one loop over the layers, traced and compiled for one of them, however many there are.

    Args:
      networks: list of MADEs with the map's params_size, the data side first, which differ in weights and input order alone.
      elementwise: the map of each position, an `Elementwise`; by default `Affine()`.
      inverse: whether each layer stands inverted, so that sampling is one call of each network.
    """

    def __init__(
        self,
        networks: Sequence[keras.layers.Layer],
        elementwise: Elementwise | None = None,
        *,
        inverse: bool = False,
        name: str = "masked_autoregressive_layers",
    ):
        if not networks or not all(hasattr(network, "blocks") for network in networks):
            raise ValueError(f"`networks` must be one or more MADEs. Received: {[type(n).__name__ for n in networks]}")
        layouts = [_layout(network) for network in networks]
        different = [name for name in layouts[0] if any(layout[name] != layouts[0][name] for layout in layouts)]
        if different:
            raise ValueError(
                f"`networks` must differ in weights and input order alone. Received: MADEs of several {', '.join(different)}"
            )
        self.layers, self.is_inverse = [MaskedAutoregressive(network, elementwise) for network in networks], inverse
        first = self.layers[0]
        super().__init__(event_shape=first.event_shape, dtype=first.dtype, condition_shape=first.condition_shape, name=name)

    def forward_and_log_det(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        if not self.is_inverse:
            return self._by_position(z, self.layers[::-1], condition)
        return self._at_once(z, self.layers[::-1], condition, finite=True)

    def inverse_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        run = self._by_position if self.is_inverse else self._at_once
        return run(x, self.layers, condition)

    @staticmethod
    def _at_once(value, layers, condition, finite=False):
        """Each network called in turn: `inverse_and_log_det` of the layers; `finite` where the value is to be a sample."""
        total = 0.0
        for layer in layers:
            value, log_det = layer.inverse_and_log_det(value, condition)
            value = within_range(value) if finite else value
            total += log_det
        return value, total

    def _by_position(self, value, layers, condition):
        """Each network generating in turn: `forward_and_log_det` of the layers."""
        networks = [layer.network for layer in layers]
        flat, batch = self._one_batch_axis(value, networks[0].event_shape)
        condition = self._condition_rows(condition, batch)
        # Up to four loops over parts of the positions: no more to trace and compile than a loop for each layer would be.
        blocks = [network.blocks(num_loops=min(4, len(networks))) for network in networks]
        weights = tf.nest.map_structure(lambda *of_layers: tf.stack(of_layers), *[b.weights(condition) for b in blocks])
        orders = np.stack([network.order for network in networks]).astype(np.int32)
        orders, places = tf.constant(orders), tf.constant(np.argsort(orders, axis=1).astype(np.int32))

        def body(k, u, log_det):
            order, weights_k = take_row(orders, k), tf.nest.map_structure(lambda w: take_row(w, k), weights)
            u, [log_dets] = blocks[0].generate(layers[0].emit, tf.gather(u, order), order, weights_k, output_shapes=[()])
            log_det += tf.reduce_sum(log_dets, axis=0)
            return k + 1, tf.gather(u, take_row(places, k)), log_det

        u = tf.transpose(tf.reshape(flat, (-1, networks[0].event_size)))  # [D, n], as networks generate.
        loop = (tf.constant(0), u, tf.zeros_like(u[0]))
        _, u, log_det = tf.while_loop(lambda k, *_: k < len(layers), body, loop, maximum_iterations=len(layers))
        return tf.reshape(tf.transpose(u), tf.shape(value)), tf.reshape(log_det, batch)


def _layout(network):
    """All that two MADEs must share to be one layer's code."""
    config = {**network.get_config(), "degrees": [degrees.tolist() for degrees in network.degrees]}
    return {name: value for name, value in config.items() if name not in ("name", "input_order", "seed")}
