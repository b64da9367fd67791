import numpy as np
import pytest
import tensorflow as tf

from tfdgm.layers import Dropout


class TestDropout:
    def test_drops_the_fraction_and_keeps_the_mean(self):
        dropped = Dropout(0.3, seed=1)(tf.ones((1000, 500)), training=True).numpy()
        zeros = dropped == 0
        np.testing.assert_allclose(zeros.mean(), 0.3, atol=4 * np.sqrt(0.21 / zeros.size))
        np.testing.assert_allclose(dropped[~zeros], 1 / 0.7, rtol=1e-6)
        # Each column on its own: 500 binomials of 1000 draws spread as binomials do.
        np.testing.assert_allclose(zeros.mean(axis=0).std(), np.sqrt(0.21 / 1000), rtol=0.15)

    def test_masks_of_two_steps_and_of_neighbours_are_independent(self):
        layer = Dropout(0.5, seed=2)
        first, second = (layer(tf.ones((400, 500)), training=True).numpy() == 0 for _ in range(2))
        for a, b in ((first, second), (first[:, 1:], first[:, :-1]), (first[1:], first[:-1])):
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)

    def test_masks_of_neighbouring_seeds_are_independent(self):
        a, b = (Dropout(0.5, seed=seed)(tf.ones((200_000,)), training=True).numpy() == 0 for seed in (3, 4))
        for shift in (0, 1):
            for one, other in ((a, b), (b, a)):
                correlation = np.corrcoef(one[shift:], other[: len(other) - shift])[0, 1]
                assert abs(correlation) < 5 / np.sqrt(len(a))

    def test_same_seed_same_mask_and_xla_agrees(self):
        x = tf.ones((50, 40))
        masks = []
        for jit_compile in (False, True):
            layer = Dropout(0.5, seed=3)
            masks.append(tf.function(lambda x, layer=layer: layer(x, training=True), jit_compile=jit_compile)(x).numpy())
        np.testing.assert_array_equal(masks[0], masks[1])

    def test_is_the_identity_outside_training(self):
        x = tf.random.stateless_normal((3, 4), (1, 2))
        np.testing.assert_array_equal(Dropout(0.9)(x, training=False), x)
        np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)

    def test_rate_out_of_range(self):
        with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\)\. Received: rate=1"):
            Dropout(1)
