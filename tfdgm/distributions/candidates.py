"""Completion where known positions come after unknown ones: candidates, weighted by how well they predict what is known."""

import tensorflow as tf

from tfdgm.distributions.noise import philox, uniforms


def known_come_first(order, known):
    """Whether no known position follows an unknown one: known [n, D] by flat index -> bool [n]."""
    known = tf.gather(known, order, axis=1)
    return tf.reduce_all(known[:, 1:] <= known[:, :-1], axis=1)


def candidate_seeds(seeds, num_candidates):
    """seeds int32 [n, 2] -> [n, K, 2]; the first candidate of a row has the row's own seed, so that K = 1 changes nothing."""
    own = [seeds[:, i : i + 1] for i in range(2)]
    further = _derived(seeds, tf.range(1, num_candidates)[None])
    return tf.stack([tf.concat(pair, axis=1) for pair in zip(own, further, strict=True)], axis=-1)


def choose(log_weights, seeds):
    """One of K candidates a row, with probability proportional to its weight.

    log_weights [n, K], seeds int32 [n, 2] -> (the number of the chosen one, int32 [n]; the effective number of candidates,
    (sum w)^2 / sum w^2, [n]: between 1, where one outweighs all others, and K, where all weights are equal).
    """
    w = tf.nn.softmax(log_weights, axis=1)
    u = uniforms(tf.concat(_derived(seeds, tf.zeros((1, 1), tf.int32)), axis=1), (1,), w.dtype)
    # The inverse of the cumulative distribution; the last edge is left out, so rounding cannot give K.
    chosen = tf.reduce_sum(tf.cast(u >= tf.cumsum(w, axis=1)[:, :-1], tf.int32), axis=1)
    return chosen, 1 / tf.reduce_sum(tf.square(w), axis=1)


def _derived(seeds, number):
    """The two words of the seed with this number that descends from each of seeds [n, 2]: number [1, k] -> two of [n, k]."""
    key = [tf.bitcast(seeds[:, i : i + 1], tf.uint32) for i in range(2)]
    zero = tf.zeros_like(tf.bitcast(number, tf.uint32))
    # The second word of the counter is 0 where noise is drawn.
    words = philox([tf.bitcast(number, tf.uint32), zero + tf.constant(1, tf.uint32), zero, zero], key)
    return [tf.bitcast(word, tf.int32) for word in words[:2]]
