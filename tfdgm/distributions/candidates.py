"""Completion where known positions come after unknown ones: candidates, weighted by how well they predict what is known."""

import math

import tensorflow as tf

from tfdgm.distributions.noise import further_seeds, uniforms
from tfdgm.layers import inverse_cdf


def known_come_first(order, known):
    """Whether no known position follows an unknown one: known [n, D] by flat index -> bool [n]."""
    known = tf.gather(known, order, axis=1)
    return tf.reduce_all(known[:, 1:] <= known[:, :-1], axis=1)


def choose(log_weights, seeds):
    """One of K candidates a row, with probability proportional to its weight.

    log_weights [n, K], seeds int32 [n, 2] -> (the number of the chosen one, int32 [n]; the effective number of candidates,
    (sum w)^2 / sum w^2, [n]: between 1, where one outweighs all others, and K, where all weights are equal; 0 where all weights
    are 0, and any candidate is as impossible as the others).
    """
    impossible = tf.reduce_all(tf.equal(log_weights, -math.inf), axis=1)
    w = tf.nn.softmax(tf.where(impossible[:, None], tf.zeros_like(log_weights), log_weights), axis=1)
    u = uniforms(further_seeds(seeds, tf.zeros((1, 1), tf.int32))[:, 0], (1,), w.dtype)
    effective = 1 / tf.reduce_sum(tf.square(w), axis=1)
    return inverse_cdf(w, u[:, 0]), tf.where(impossible, tf.zeros_like(effective), effective)
