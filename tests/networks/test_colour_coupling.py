import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdgm.families import DiscretizedLogisticMixture
from tfdgm.networks import ColourCoupling


def log_probs(features, x, levels, k):
    """log p of each colour given those before it, through the coupling and the family; x [..., C] of levels."""
    coupling = ColourCoupling(levels, k, x.shape[-1])
    params = coupling(features, tf.cast(x, features.dtype) / (levels - 1))
    return DiscretizedLogisticMixture(levels, k).log_prob(params, tf.cast(x, features.dtype))


def features_of(levels, k, channels, n, scale=1.0, dtype="float64"):
    size = ColourCoupling(levels, k, channels).size
    return tf.constant(np.random.default_rng(0).normal(size=(n, size)) * scale, dtype)


def eq_3(features, x, levels, k):
    """p(r, g, b) as in the paper's equation 3, summed over components of products over colours; one pixel."""
    pi, (r, g, b) = np.exp(features[:k]) / np.exp(features[:k]).sum(), 2 * x / (levels - 1) - 1
    m_r, m_g, m_b, *raw, alpha, beta, gamma = features[k:].reshape(9, k)
    means = m_r, m_g + np.tanh(alpha) * r, m_b + np.tanh(beta) * r + np.tanh(gamma) * g
    p = pi
    for level, y, mean, raw_scale in zip(x, (r, g, b), means, raw, strict=True):
        s, half = np.exp(raw_scale / (1 + np.abs(raw_scale) / 7)), 1 / (levels - 1)
        upper = 1.0 if level == levels - 1 else 1 / (1 + np.exp(-(y + half - mean) / s))
        lower = 0.0 if level == 0 else 1 / (1 + np.exp(-(y - half - mean) / s))
        p = p * (upper - lower)
    return p.sum()


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_the_product_over_colours_is_the_joint_of_equation_3(levels):
    k, random = 4, np.random.default_rng(1)
    features = features_of(levels, k, 3, 60)
    x = random.integers(0, levels, (60, 3))
    x[:20] = random.choice([0, levels - 1], (20, 3))
    expected = [eq_3(f, row, levels, k) for f, row in zip(features.numpy(), x, strict=True)]
    ours = np.exp(np.sum(log_probs(features, x, levels, k), axis=-1))
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sums_to_1_over_all_colours(channels):
    x = np.array(list(itertools.product(range(3), repeat=channels)))
    features = tf.repeat(features_of(3, 2, channels, 1), len(x), axis=0)
    np.testing.assert_allclose(np.exp(np.sum(log_probs(features, x, 3, 2), axis=-1)).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_256_levels_of_the_last_colour_sum_to_1(scale):
    x = np.stack([np.full(256, 0), np.full(256, 200), np.arange(256)], axis=-1)
    features = tf.repeat(features_of(256, 5, 3, 1, scale), 256, axis=0)
    np.testing.assert_allclose(np.exp(log_probs(features, x, 256, 5)[:, 2]).sum(), 1, rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_nan_in_gradients_at_the_first_and_last_level(dtype):
    # Raw log-scales down to -1e6 too: scales of e^-7, the smallest.
    features = features_of(256, 3, 3, 24, dtype=dtype).numpy()
    features[:, 12:21] = np.resize([-1e6, -100, -5, 5, 1e6], (24, 9))
    x = np.array(list(itertools.product([0, 255], repeat=3)) * 3)
    features = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = log_probs(features, x, 256, 3)
    assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, features)).all()


def test_size_is_the_paper_s():
    assert ColourCoupling(256, 10, 3).size == 100
