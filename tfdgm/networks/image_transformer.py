import math
from collections.abc import Sequence

import keras
from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.layers import CausalAttention, Dropout
from tfdgm.networks.image_network import ImageNetwork

_EPSILON = 1e-6


class ImageTransformer(ImageNetwork):
    """A decoder of causal self-attention over sub-pixels: Parmar et al. 2018, arXiv:1802.05751, sections 3.1-3.3, eq. 1-2.

        h_0[t] = E x[t-1] + row[i] + column[j] + channel[c] + U condition          t = (i width + j) channels + c, x[-1] = 0
        a_l = layernorm(h_(l-1) + dropout(O attention(Q h_(l-1), K h_(l-1), V h_(l-1))))
        h_l = layernorm(a_l + dropout(W_1 relu(W_2 a_l))),                          params = P h_L

    A position attends to itself and to those before it (the input is shifted), or, with a block_length, to its block's and to
    memory_length before the block: 1-D local attention, section 3.3. With L layers it then sees through the blocks before.

    x enters by a linear map E, as the paper's does under a mixture of logistics; its categorical model embeds each level.
    Places are learned, and O, not in eq. 1, joins the heads as in Vaswani et al. 2017, arXiv:1706.03762.

    The state holds keys and values of all positions, or, with a block_length, of block_length + memory_length: time and memory
    of a step are then the same for an image of any height.

    Shapes: x [n, *event_shape], condition [n, *condition_shape] -> params [n, *event_shape, params_size].

    Args:
      event_shape: (height, width) or (height, width, channels).
      params_size: parameters per sub-pixel.
      hidden_size: width of h.
      num_layers: L.
      num_heads: attentions side by side.
      head_size: features of a head's query, key and value. The paper: hidden_size / num_heads. A step reads the keys and values
        of all positions seen, which is much of its cost: smaller heads make faster samples.
      feed_forward_size: width between W_1 and W_2.
      block_length, memory_length: of local attention, in sub-pixels. A memory_length of None is as long as the block, and a
        block_length of None attends to all.
      dropout: rate, in training only, also of h_0.
      levels, condition_shape: as in `AutoregressiveNetwork`.
      seed: of dropout.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        params_size: int = 1,
        hidden_size: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        head_size: int = 16,
        feed_forward_size: int = 512,
        block_length: int | None = 128,
        memory_length: int | None = None,
        dropout: float = 0.0,
        levels: int | None = None,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(event_shape, params_size, levels=levels, condition_shape=condition_shape, **kwargs)
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.num_heads, self.head_size = num_heads, head_size
        self.feed_forward_size, self.block_length, self.memory_length = feed_forward_size, block_length, memory_length
        self.dropout_rate, self.seed = dropout, seed
        check_whole(hidden_size=hidden_size, num_layers=num_layers, num_heads=num_heads, head_size=head_size)
        check_whole(feed_forward_size=feed_forward_size)
        self._make_input()
        self._make_layers()
        self.head = self._make_dense(hidden_size, params_size)
        self.built = True

    def _make_input(self):
        """What h_0 is made of."""
        self.embedding = self._make_dense(1, self.hidden_size)
        normal = keras.initializers.RandomNormal
        self.places = [
            self.add_weight(shape=(size, self.hidden_size), initializer=normal(stddev=0.02), name=name)
            for name, size in (("row", self.height), ("column", self.width), ("channel", self.num_channels))
        ]
        self.condition_dense = None
        if self.condition_shape is not None:
            self.condition_dense = self._make_dense(math.prod(self.condition_shape), self.hidden_size, use_bias=False)

    def _make_layers(self):
        """What makes h_l of h_(l-1), for all l, and the dropout of h_0 at the end."""
        size, layers, policy = self.hidden_size, range(self.num_layers), self.dtype_policy
        of_heads = self.num_heads * self.head_size
        self.dropout = [Dropout(self.dropout_rate, seed=self.seed + i, dtype=policy) for i in range(2 * self.num_layers + 1)]
        # One layer without weights serves all.
        self.attention = CausalAttention(
            self.event_size,
            num_heads=self.num_heads,
            key_size=self.head_size,
            value_size=self.head_size,
            block_length=self.block_length,
            memory_length=(self.block_length or 0) if self.memory_length is None else self.memory_length,
            dtype=policy,
        )
        self.query_key_value = [self._make_dense(size, 3 * of_heads, use_bias=False) for _ in layers]
        self.join = [self._make_dense(of_heads, size) for _ in layers]
        self.widen = [self._make_dense(size, self.feed_forward_size, activation="relu") for _ in layers]
        self.narrow = [self._make_dense(self.feed_forward_size, size) for _ in layers]
        self.norms = [(self._make_norm(), self._make_norm()) for _ in layers]

    def _make_dense(self, in_size, out_size, **given):
        layer = keras.layers.Dense(out_size, dtype=self.dtype_policy, **given)
        layer.build((None, in_size))
        return layer

    def _make_norm(self):
        layer = keras.layers.LayerNormalization(epsilon=_EPSILON, dtype=self.dtype_policy)
        layer.build((None, self.hidden_size))
        return layer

    def call(self, x, condition=None, training=None):
        row, column, channel = self.places
        place = ops.reshape(row[:, None, None] + column[:, None] + channel, (self.event_size, self.hidden_size))
        x = ops.reshape(self.seen(x), (-1, self.event_size, 1))
        h = self.embedding(ops.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]]))
        h = h + ops.cast(place, h.dtype)
        h = h if condition is None else h + self._of_condition(condition)[:, None]
        h = self.dropout[-1](h, training=training)
        for layer in range(self.num_layers):
            drop, (first_norm, second_norm) = self.dropout[2 * layer : 2 * layer + 2], self.norms[layer]
            a = self.attention(*ops.split(self.query_key_value[layer](h), 3, axis=-1))
            h = _normalized_by(first_norm, h + drop[0](self.join[layer](a), training=training))
            h = _normalized_by(second_norm, h + drop[1](self.narrow[layer](self.widen[layer](h)), training=training))
        return ops.reshape(self.head(h), (-1, *self.event_shape, self.params_size))

    def _of_condition(self, condition):
        return self.condition_dense(ops.reshape(condition, (-1, math.prod(self.condition_shape))))

    def initial_state(self, batch_size, condition=None):
        row, column, channel = (ops.cast(table, self.compute_dtype) for table in self.places)
        embedding, (head, head_bias) = (self._prepared(dense, batch_size) for dense in (self.embedding, self.head))
        start = embedding[1] if condition is None else embedding[1] + self._of_condition(condition)
        layers = [
            (
                self._prepared(qkv, batch_size)[0],
                *(self._prepared(dense, batch_size) for dense in denses),
                [[ops.cast(w, start.dtype) for w in (norm.gamma, norm.beta)] for norm in norms],
            )
            for qkv, *denses, norms in zip(self.query_key_value, self.join, self.widen, self.narrow, self.norms, strict=True)
        ]
        caches = [self.attention.initial_state(batch_size) for _ in range(self.num_layers)]
        x_before = ops.zeros((batch_size, 1), self.compute_dtype)
        weights = (start, row, column, channel), embedding[0], layers, (head, head_bias)
        return weights, (ops.convert_to_tensor(0), start), (x_before, caches)

    def _prepared(self, dense, batch_size):
        """What a step needs of a layer: the kernel, and the bias as a row for each of the batch, as exported oneDNN would join a
        vector to the product, which takes longer. Read once, not at each step."""
        kernel = ops.cast(dense.kernel, self.compute_dtype)
        if not dense.use_bias:
            return kernel, None
        return kernel, ops.broadcast_to(ops.cast(dense.bias, self.compute_dtype), (batch_size, dense.units))

    def start_row(self, i, weights, above, row):
        start, of_row, *_ = weights[0]
        return i * self.width, start + of_row[i]

    def see_in_row(self, column, channel, x, row):
        return x[:, None], row[1]

    def step_in_row(self, column, channel, weights, above, row):
        (_, _, of_column, of_channel), embedding, layers, (head, head_bias) = weights
        (first, of_row), (x_before, caches) = above, row
        t, caches = (first + column) * self.num_channels + channel, list(caches)
        seen = self.attention.seen(t)
        h = x_before * embedding + of_row + (of_column[column] + of_channel[channel])
        for layer, (query_key_value, join, widen, narrow, (first_norm, second_norm)) in enumerate(layers):
            query, key, value = ops.split(ops.matmul(h, query_key_value), 3, axis=-1)
            caches[layer] = self.attention.write(t, key, value, caches[layer])
            a = self.attention.read(seen, query, caches[layer])
            h = _normalized(h + _dense(a, *join), *first_norm)
            h = _normalized(h + _dense(ops.relu(_dense(h, *widen)), *narrow), *second_norm)
        return _dense(h, head, head_bias), (x_before, caches)

    def output_biases(self):
        return [self.head.bias]

    def get_config(self):
        return {
            **self._common_config(),
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "head_size": self.head_size,
            "feed_forward_size": self.feed_forward_size,
            "block_length": self.block_length,
            "memory_length": self.memory_length,
            "dropout": self.dropout_rate,
            "seed": self.seed,
        }


def _dense(x, kernel, bias):
    return ops.matmul(x, kernel) + bias


def _normalized_by(norm, h):
    """norm(h). Keras takes moments from TensorFlow, which lets no gradient through the mean (2.21): a first derivative is right,
    as the terms cancel, and a second is not."""
    full = ops.cast(h, keras.backend.result_type(h.dtype, "float32"))
    return ops.cast(_normalized(full, norm.gamma, norm.beta), h.dtype)


def _normalized(h, scale, offset):
    """What a LayerNormalization computes, in fewer operations than Keras takes."""
    h = h - ops.mean(h, axis=-1, keepdims=True)
    return h * (ops.rsqrt(ops.mean(h * h, axis=-1, keepdims=True) + _EPSILON) * scale) + offset
