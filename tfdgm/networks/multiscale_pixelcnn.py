import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.layers import Dropout, MaskedConv2D, update_slice
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork
from tfdgm.networks.gated_pixelcnn import GatedPixelCNN


class MultiscalePixelCNN(AutoregressiveNetwork):
    """Groups of pixels, each drawn at once: Reed et al. 2017, arXiv:1703.03664, section 3, figures 2 and 3 (A).

    Every 2^S-th pixel of every 2^S-th row comes first: a small image, of which a `GatedPixelCNN` gives pixel after pixel. Then S
    times the resolution doubles. What is known becomes the upper left corners of blocks of 2 x 2 pixels, and three groups of
    pixels follow: the upper right corners, the lower left and the lower right ones. With k over the colours of a pixel i,

        p(x) = p(first image) prod_(groups g) prod_(i in g) prod_k p(x_ik | all groups before g, x_i1 .. x_i(k-1))

    Given the groups before it, the pixels of one group are independent of each other. That is an assumption about images, and
    the price of speed: the density is exact and adds up to 1, but dependencies within a group that the groups before do not
    explain are beyond this model, which a `GatedPixelCNN` can learn. A group takes one evaluation of its network: 3 S for all
    but the first image, S <= log_2 of the image's side, so O(log n) for n pixels where the first image keeps its size.

    The network of a group sees the corners known so far as features of one image, in which a block is a pixel:

        h_0 = conv(corners),  h_l = h_(l-1) + conv(relu(conv(relu(h_(l-1))) + V_l c))
        params = conv_1x1(relu(conv_1x1(relu(h_L + conv_A(x_i)))))

    where conv_A and the two convolutions around it, all 1x1 and masked between colours, let each colour see those before it in
    its own pixel. The paper masks colours all through the network, which it evaluates once a colour: G then sees R in the whole
    group, here in its own pixel alone. Groups do not share weights.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels); height and width multiples of 2^num_scales.
      params_size: parameters per sub-pixel.
      num_scales: S, 1 or more.
      filters: width of h, and of the layers of the `GatedPixelCNN`; a multiple of the channels.
      num_layers: residual blocks of each group's network, L.
      base_layers: layers of the `GatedPixelCNN`.
      kernel_size: of the convolutions that are not 1x1, odd.
      head_filters: width between the last two convolutions, a multiple of the channels.
      dropout: rate inside each block, in training only.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        num_scales: int = 2,
        filters: int = 48,
        num_layers: int = 2,
        base_layers: int = 4,
        kernel_size: int = 3,
        head_filters: int = 96,
        dropout: float = 0.0,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        event_shape = tuple(event_shape)
        check_whole(num_scales=num_scales)
        factor = 2**num_scales
        if len(event_shape) not in (2, 3) or min(event_shape) < 1 or any(size % factor for size in event_shape[:2]):
            raise ValueError(
                "`event_shape` must be (height, width) or (height, width, channels), with a height and width that are multiples "
                f"of 2^num_scales = {factor}. Received: event_shape={event_shape}"
            )
        height, width, channels = (*event_shape, 1)[:3]
        strides = [2**scale for scale in reversed(range(num_scales))]
        positions = np.arange(math.prod(event_shape), dtype="int32").reshape(1, height, width, channels)
        first = _corner(positions, 0, strides[0])
        # Within a group colour after colour, so that what is drawn at once stands together.
        groups = [np.moveaxis(_corner(positions, i, stride)[0], -1, 0) for stride in strides for i in (1, 2, 3)]
        order = np.concatenate([first.ravel(), *(group.ravel() for group in groups)])
        super().__init__(event_shape, params_size, order, levels=levels, condition_shape=condition_shape, **kwargs)
        #: The flat index of each sub-pixel; the spacing of the pixels that are known after each doubling.
        self._positions, self._strides = positions, strides
        #: What `step` does at t: 0 nothing, 1 a pixel of the first image, 2 the start of a group in one colour.
        starts = np.isin(order, [index for group in groups for index in group[:, 0, 0]])
        self._branches = np.where(np.arange(order.size) < first.size, 1, 2 * starts).astype("int32")
        self.num_scales, self.filters, self.num_layers, self.base_layers = num_scales, filters, num_layers, base_layers
        self.kernel_size, self.head_filters, self.dropout_rate, self.seed = kernel_size, head_filters, dropout, seed
        self.num_channels = channels
        options = {
            "params_size": params_size,
            "filters": filters,
            "kernel_size": kernel_size,
            "head_filters": head_filters,
            "dropout": dropout,
            "condition_shape": condition_shape,
            "dtype": self.dtype_policy,
        }
        self.base = GatedPixelCNN(first.shape[1:], num_layers=base_layers, levels=levels, seed=seed, **options)
        self.groups = [
            _GroupNetwork(i, channels, num_layers=num_layers, seed=seed + base_layers + g * num_layers, **options)
            for g, i in enumerate([1, 2, 3] * num_scales)
        ]
        self.built = True

    def call(self, x, condition=None, training=None):
        x, given = self._as_image(x), {"condition": condition, "training": training}
        params, x = self.base(_corner(x, 0, self._strides[0]), **given), self.seen(x)
        for stride, networks in self._scales():
            corners = [_corner(x, i, stride) for i in range(4)]
            of_groups = [network(corners[:i], corners[i], **given) for i, network in enumerate(networks, start=1)]
            params = _merge([params, *of_groups])
        return ops.reshape(params, (-1, *self.event_shape, self.params_size))

    def generate(self, emit, inputs, condition=None, *, output_shapes=()):
        inputs = keras.tree.map_structure(self._as_image, inputs)
        order = ops.convert_to_tensor(self.order.astype("int32"))

        def corner_of_inputs(i, stride):
            return keras.tree.map_structure(lambda u: _corner(u, i, stride), inputs)

        def emit_base(t, params, at):
            return emit(order[t], params, at)

        given = corner_of_inputs(0, self._strides[0])
        x, outputs = self.base.generate(emit_base, given, condition, output_shapes=output_shapes)
        image = [x, *outputs]
        for stride, networks in self._scales():
            corners = [image]
            for i, network in enumerate(networks, start=1):
                features = network.features([self.seen(x) for x, *_ in corners], condition)
                positions = _corner(self._positions, i, stride)
                corners.append(self._draw_group(emit, network, features, positions, corner_of_inputs(i, stride)))
            image = [_merge(parts) for parts in zip(*corners, strict=True)]
        x, *outputs = [ops.reshape(u, (-1, *self.event_shape, *u.shape[4:])) for u in image]
        return x, outputs

    def _draw_group(self, emit, network, features, positions, inputs):
        """[x [n, h, w, channels], outputs [n, h, w, channels, *shape]] of a group, colour after colour."""
        shape = ops.shape(features)[:3]
        x = ops.zeros((*shape, self.num_channels), self.compute_dtype)
        outputs = []
        for channel in range(self.num_channels):
            params = network.head(features, self.seen(x))[..., channel, :]
            # The pixels are rows of one large batch.
            position = ops.reshape(ops.broadcast_to(positions[..., channel], shape), (-1,))
            at = keras.tree.map_structure(lambda u, c=channel: _as_rows(u[:, :, :, c]), inputs)
            drawn, outputs_c = emit(position, _as_rows(params), at)
            drawn = ops.cast(drawn, self.compute_dtype)
            x = x + ops.reshape(drawn, (*shape, 1)) * ops.one_hot(channel, self.num_channels, dtype=self.compute_dtype)
            outputs.append([ops.reshape(u, (*shape, *u.shape[1:])) for u in outputs_c])
        return [x, *(ops.stack(u, axis=3) for u in zip(*outputs, strict=True))]

    def initial_state(self, batch_size, condition=None):
        x = ops.zeros((self.event_size, batch_size), self.compute_dtype)
        params = ops.zeros((self.event_size, batch_size, self.params_size), self.compute_dtype)
        return self.base.initial_state(batch_size, condition), x, params, [] if condition is None else [condition]

    def step(self, t, state):
        # Where a group begins, in each colour, one whole `call` gives the parameters of all its pixels, which lie ready then:
        # O(log n) calls in all.
        base, x, params, condition = state

        def go_on():
            return params, base

        def step_of_base():
            params_t, after = self.base.step(t, base)
            return update_slice(params, [t, 0, 0], params_t[None]), after

        def start_group():
            return self._in_order(self.call(self._in_event(x), *condition)), base

        params, base = ops.switch(ops.convert_to_tensor(self._branches)[t], [go_on, step_of_base, start_group])
        return params[t], (base, x, params, condition)

    def see(self, t, x, state):
        base, known, params, condition = state
        base = ops.cond(t < self.base.event_size, lambda: self.base.see(t, x, base), lambda: base)
        return base, update_slice(known, [t, 0], x[None]), params, condition

    def _scales(self):
        """(spacing of pixels, networks of the three groups) of each doubling."""
        return [(stride, self.groups[3 * scale : 3 * scale + 3]) for scale, stride in enumerate(self._strides)]

    def _as_image(self, u):
        """[n, *event_shape, ...] -> [n, height, width, channels, ...]."""
        return ops.reshape(u, (-1, *self._positions.shape[1:], *u.shape[1 + len(self.event_shape) :]))

    def output_biases(self):
        return [*self.base.output_biases(), *(group.last[-1].bias for group in self.groups)]

    def get_config(self):
        return {
            **self._common_config(),
            "num_scales": self.num_scales,
            "filters": self.filters,
            "num_layers": self.num_layers,
            "base_layers": self.base_layers,
            "kernel_size": self.kernel_size,
            "head_filters": self.head_filters,
            "dropout": self.dropout_rate,
            "seed": self.seed,
        }


class _GroupNetwork(keras.layers.Layer):
    """The parameters of one group's pixels: known, a list of `num_known` corners [n, h, w, channels], and the group's own
    x [n, h, w, channels], of which each colour sees the colours before it -> params [n, h, w, channels, params_size]."""

    def __init__(
        self,
        num_known,
        channels,
        *,
        params_size,
        filters,
        num_layers,
        kernel_size,
        head_filters,
        dropout,
        condition_shape,
        seed,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.channels, self.params_size = channels, params_size
        policy = self.dtype_policy

        def conv(in_filters):
            layer = keras.layers.Conv2D(filters, kernel_size, padding="same", data_format="channels_last", dtype=policy)
            layer.build((None, None, None, in_filters))
            return layer

        def pointwise(in_filters, out_filters, **options):
            return MaskedConv2D(in_filters, out_filters, 1, num_channels=channels, dtype=policy, **options)

        self.first = conv(num_known * channels)
        self.inner, self.outer = ([conv(filters) for _ in range(num_layers)] for _ in range(2))
        self.dropout = [Dropout(dropout, seed=seed + layer, dtype=policy) for layer in range(num_layers)]
        self.condition_dense = []
        if condition_shape is not None:
            for _ in range(num_layers):
                dense = keras.layers.Dense(filters, use_bias=False, dtype=policy)
                dense.build((None, math.prod(condition_shape)))
                self.condition_dense.append(dense)
        self.colours = pointwise(channels, filters, mask_type="A", use_bias=False) if channels > 1 else None
        self.last = [pointwise(filters, head_filters), pointwise(head_filters, channels * params_size)]
        self.built = True

    def call(self, known, x, condition=None, training=None):
        return self.head(self.features(known, condition, training), x)

    def features(self, known, condition=None, training=None):
        """h_L [n, h, w, filters]."""
        h = self.first(ops.concatenate(known, axis=-1))
        terms = [0.0] * len(self.inner)
        if self.condition_dense:
            c = ops.reshape(condition, (-1, 1, 1, self.condition_dense[0].kernel.shape[0]))
            terms = [dense(c) for dense in self.condition_dense]
        for inner, outer, dropout, c in zip(self.inner, self.outer, self.dropout, terms, strict=True):
            h = h + outer(dropout(ops.relu(inner(ops.relu(h)) + c), training=training))
        return h

    def head(self, h, x):
        """The parameters of all colours; those of a colour are right where x holds the colours before it."""
        h = h if self.colours is None else h + self.colours(x)
        for layer in self.last:
            h = layer(ops.relu(h))
        return ops.reshape(h, (*ops.shape(h)[:3], self.channels, self.params_size))


def _corner(u, number, stride):
    """Of the pixels at every `stride`-th row and column of u [n, height, width, ...], one corner of each block of 2 x 2: 0 is the
    upper left, 1 the upper right, 2 the lower left, 3 the lower right one."""
    i, j = divmod(number, 2)
    return u[:, i * stride :: 2 * stride, j * stride :: 2 * stride]


def _merge(corners):
    """The four corners, each [n, h, w, ...], of blocks of 2 x 2 -> [n, 2 h, 2 w, ...]."""
    u = ops.stack([ops.stack(corners[:2], axis=3), ops.stack(corners[2:], axis=3)], axis=2)
    return ops.reshape(u, (-1, 2 * u.shape[1], 2 * u.shape[3], *u.shape[5:]))


def _as_rows(u):
    """[n, h, w, ...] -> [n h w, ...]."""
    return ops.reshape(u, (-1, *u.shape[3:]))
