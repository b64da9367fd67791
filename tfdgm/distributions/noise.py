"""Random numbers whose row i depends on seed i alone, in integer arithmetic: the same eagerly, in a graph, under XLA, everywhere.

TensorFlow's stateless operations take one seed a call, and give other numbers under XLA than outside it.
"""

import math

import tensorflow as tf

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


_WORD = tf.TensorSpec(None, tf.uint32)


# A function of its own: its 300 operations are traced once a process, not wherever numbers are drawn.
@tf.function(input_signature=[[_WORD] * 4, [_WORD] * 2], autograph=False)
def philox(counter, key):
    """Philox-4x32-10: Salmon et al. 2011, doi:10.1145/2063384.2063405, section 4. 128 random bits for each counter and key.

    counter: four, key: two uint32 tensors that broadcast -> four uint32 tensors.
    """
    c, k = list(counter), list(key)
    for _ in range(10):
        high, low = zip(*(_multiply(x, m) for x, m in zip((c[0], c[2]), _MULTIPLIERS, strict=True)), strict=True)
        xor = tf.bitwise.bitwise_xor
        c = [xor(xor(high[1], c[1]), k[0]), low[1], xor(xor(high[0], c[3]), k[1]), low[0]]
        k = [x + tf.constant(w, tf.uint32) for x, w in zip(k, _WEYL, strict=True)]
    return c


def _multiply(x, factor):
    """The high and low 32 bits of a product."""
    product = tf.cast(x, tf.uint64) * tf.constant(factor, tf.uint64)
    high = tf.bitwise.right_shift(product, tf.constant(32, tf.uint64))
    return tf.cast(high, tf.uint32), tf.cast(tf.bitwise.bitwise_and(product, tf.constant(2**32 - 1, tf.uint64)), tf.uint32)


def uniforms(seeds, shape, dtype):
    """seeds int32 [n, 2] -> uniform numbers in the open interval (0, 1), [n, *shape]; 23 random bits each (52 in float64)."""
    size, words = math.prod(shape), 2 if dtype == tf.float64 else 1
    # Gathered, not sliced: Grappler drops the new axis of tf.stack(...)[:, i, None], in TensorFlow 2.21.
    key = [tf.bitcast(tf.gather(seeds, [i], axis=1), tf.uint32) for i in range(2)]
    blocks = tf.range(-(-size * words // 4))[None]
    zero = tf.zeros_like(tf.bitcast(blocks, tf.uint32))
    bits = tf.stack(philox([tf.bitcast(blocks, tf.uint32), zero, zero, zero], key), axis=-1)
    bits = tf.reshape(bits, (-1, 4 * blocks.shape[1]))[:, : size * words]
    # The middle of each of 2^23 (2^52) intervals: one bit less than the type holds, so that no sum rounds to 1.
    if dtype == tf.float64:
        high, low = (tf.cast(bits[:, i::2], tf.uint64) for i in range(2))
        bits = tf.bitwise.right_shift(high * tf.constant(2**32, tf.uint64) + low, tf.constant(12, tf.uint64))
        u = tf.cast(tf.bitcast(bits, tf.int64), dtype) * 2.0**-52 + 2.0**-53
    else:
        bits = tf.bitcast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.int32)
        u = tf.cast(tf.cast(bits, tf.float32) * 2.0**-23 + 2.0**-24, dtype)
    return tf.reshape(u, (-1, *shape))


def normals(seeds, shape, dtype):
    """seeds int32 [n, 2] -> standard normal numbers [n, *shape], by the normal quantile of `uniforms`."""
    return tf.cast(tf.math.ndtri(uniforms(seeds, shape, dtype)), dtype)


def derived_seeds(seeds, count):
    """seeds int32 [n, 2] -> [n, count, 2], each row's own seed first, so that a count of 1 changes nothing."""
    return tf.concat([seeds[:, None], further_seeds(seeds, tf.range(1, count)[None])], axis=1)


def further_seeds(seeds, numbers):
    """The seeds with these numbers that descend from each of seeds [n, 2]: numbers int32 [1, k] -> [n, k, 2]."""
    key = [tf.bitcast(seeds[:, i : i + 1], tf.uint32) for i in range(2)]
    zero = tf.zeros_like(tf.bitcast(numbers, tf.uint32))
    # The second word of the counter is 0 where noise is drawn.
    words = philox([tf.bitcast(numbers, tf.uint32), zero + tf.constant(1, tf.uint32), zero, zero], key)
    return tf.stack([tf.bitcast(word, tf.int32) for word in words[:2]], axis=-1)


def seeds_of_places(first_row, n, stream):
    """Seeds of the rows `first_row`, `first_row` + 1, ... of a data set, int32 [n, 2]; another for every place and stream."""
    return tf.stack([tf.fill((n,), tf.cast(stream, tf.int32)), tf.range(n) + first_row], axis=1)
