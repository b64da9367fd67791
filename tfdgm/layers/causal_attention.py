import math

import keras
from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.layers.exporting import is_exporting
from tfdgm.layers.slices import take_slice, update_slice

#: Queries that are scored together where a position may see all before it.
_QUERIES = 256


class CausalAttention(keras.layers.Layer):
    """Attention of each of T positions to those before it: Vaswani et al. 2017, arXiv:1706.03762, eq. 1, under a mask. Per head

        y_t = sum_(s in M(t)) w_ts v_s,    w_t = softmax over s in M(t) of q_t . k_s / sqrt(key_size)

    M(t) is all s <= t, or all s < t where `strict`, and then y_0 = 0, as M(0) is empty. With a block_length, it is 1-D local
    attention (Parmar et al. 2018, arXiv:1802.05751, section 3.3): positions are cut into blocks, and M(t) holds of these s only
    those in t's block and the memory_length positions before that block.

    Evaluated whole (`call`), or position by position: `write` puts a key and a value in a cache, in place, and `read` attends to
    what is `seen` of it. The cache holds T positions, or block_length + memory_length, whichever is less. `call` scores blocks
    of queries one after the other, each with the keys it may see alone: n num_heads block (block + memory) weights at a time, and
    n num_heads T^2 / 2 of them kept for gradients without a block_length (T (block + memory) with it).

    Shapes: query and key [n, T, num_heads * key_size], value [n, T, num_heads * value_size] -> y as value; features lie head by
    head. There are no weights: queries, keys and values come as they are to be.

    Args:
      length: T.
      num_heads: attentions side by side.
      key_size, value_size: features of one head.
      strict: whether a position does not see itself.
      block_length: of local attention, or None.
      memory_length: positions seen before the block.
    """

    def __init__(
        self,
        length: int,
        *,
        num_heads: int = 1,
        key_size: int = 16,
        value_size: int = 16,
        strict: bool = False,
        block_length: int | None = None,
        memory_length: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_whole(length=length, num_heads=num_heads, key_size=key_size, value_size=value_size)
        check_whole(block_length=1 if block_length is None else block_length)
        if memory_length < 0 or (memory_length and block_length is None):
            raise ValueError(
                "`memory_length` must be 0 or more, and comes with a `block_length`. "
                f"Received: memory_length={memory_length}, block_length={block_length}"
            )
        self.length, self.num_heads, self.key_size, self.value_size = length, num_heads, key_size, value_size
        self.strict, self.block_length, self.memory_length = strict, block_length, memory_length
        if block_length is None:
            block_length, memory_length = math.ceil(length / math.ceil(length / _QUERIES)), length
        self._block, self._memory = block_length, memory_length
        self._kept = min(length, block_length + memory_length)
        self.built = True

    def call(self, query, key, value):
        query, key, value = (self._heads(u) for u in (query, key, value))
        y = []
        for start in range(0, self.length, self._block):
            end, first = min(self.length, start + self._block), max(0, start - self._memory)
            mask = self._is_before(ops.arange(first, end), ops.arange(start, end)[:, None])
            y.append(self._attend(query[:, :, start:end], key[:, :, first:end], value[:, :, first:end], mask))
        y = ops.transpose(ops.concatenate(y, axis=2), (0, 2, 1, 3))
        return ops.reshape(y, (-1, self.length, self.num_heads * self.value_size))

    def initial_state(self, batch_size):
        """The empty cache: keys and values [n num_heads, positions kept, size]."""
        # With an axis for a single head, XLA would copy all of it at each step.
        return tuple(
            ops.zeros((batch_size * self.num_heads, self._kept, size), self.compute_dtype)
            for size in (self.key_size, self.value_size)
        )

    def write(self, t, key, value, cache):
        """The cache with key [n, num_heads * key_size] and value [n, num_heads * value_size] of position t, a scalar."""
        at, new = [0, t % self._kept, 0], ((key, self.key_size), (value, self.value_size))
        return tuple(update_slice(old, at, ops.reshape(u, (-1, 1, size))) for old, (u, size) in zip(cache, new, strict=True))

    def seen(self, t):
        """Which slots of the cache the position t, a scalar, attends to: bool [positions kept]."""
        # A slot holds the last position up to t that falls on it; below 0, none yet. XLA would divide for each head anew.
        slot, slot_of_t = ops.arange(self._kept), t % self._kept
        s = slot + (t - slot_of_t) - ops.where(slot <= slot_of_t, 0, self._kept)
        first = ops.maximum(t // self._block * self._block - self._memory, 0)
        return ops.logical_and(s >= first, self._is_before(s, t))

    def read(self, seen, query, cache, first_head=0):
        """y [n, heads * value_size] of a position that attends to what is `seen`, for as many heads, from first_head on, as query
        [n, heads * key_size] has."""
        heads = query.shape[-1] // self.key_size
        if heads < self.num_heads:
            of_heads = [ops.reshape(u, (-1, self.num_heads, *u.shape[1:])) for u in cache]
            of_heads = [take_slice(u, [0, first_head, 0, 0], [None, heads, None, None]) for u in of_heads]
            cache = [ops.reshape(u, (-1, *u.shape[2:])) for u in of_heads]
        query = ops.reshape(query, (-1, 1, self.key_size))
        return ops.reshape(self._attend(query, *cache, seen), (-1, heads * self.value_size))

    def _is_before(self, s, t):
        return s < t if self.strict else s <= t

    def _attend(self, query, key, value, mask):
        """[..., queries, value_size]; a query that sees nothing gets 0."""
        scores = _product(query * self.key_size**-0.5, key, transpose_b=True)
        # In half precision, sums over thousands of weights would lose them.
        scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
        scores = scores + ops.where(mask, ops.cast(0.0, scores.dtype), ops.cast(-1e30, scores.dtype))
        # softmax(scores) value, divided last, where it is least to do.
        weights = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
        weights = weights * ops.cast(mask, weights.dtype) if self.strict else weights
        total = ops.sum(weights, axis=-1, keepdims=True)
        total = ops.where(total > 0, total, ops.ones_like(total)) if self.strict else total
        return _product(ops.cast(weights, value.dtype), value) / ops.cast(total, value.dtype)

    def _heads(self, u):
        """[n, T, num_heads * size] -> [n, num_heads, T, size]."""
        return ops.transpose(ops.reshape(u, (-1, self.length, self.num_heads, u.shape[-1] // self.num_heads)), (0, 2, 1, 3))

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return value_shape

    def get_config(self):
        return {
            **super().get_config(),
            "length": self.length,
            "num_heads": self.num_heads,
            "key_size": self.key_size,
            "value_size": self.value_size,
            "strict": self.strict,
            "block_length": self.block_length,
            "memory_length": self.memory_length,
        }


def _product(a, b, transpose_b=False):
    """a b, or a b^T, over the last two axes."""
    if keras.backend.backend() == "tensorflow" and is_exporting() and a.shape[-2] == 1 and a.dtype in ("float32", "float64"):
        import tensorflow as tf

        # oneDNN, which TensorFlow prefers for the other operation, takes some 50 us to begin; this one is Eigen's.
        return tf.raw_ops.BatchMatMulV3(x=a, y=b, Tout=a.dtype, adj_y=transpose_b)
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)
