import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import tfdgm
from tfdgm.distributions import noise
from tfdgm.distributions.noise import normals, philox, uniforms


class TestNoise:
    @pytest.mark.parametrize("draw", [uniforms, normals])
    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    def test_a_row_depends_on_its_seed_alone(self, draw, dtype):
        seeds = np.array([[1, 0], [1, 1], [7, -3], [1, 2]], np.int32)
        together = draw(tf.constant(seeds), (5,), dtype).numpy()
        # The uniform numbers are integers first, so equal; their quantile is vectorized, which may round the last bit otherwise.
        rtol = 0 if draw is uniforms else 1e-6
        for i, seed in enumerate(seeds):
            np.testing.assert_allclose(draw(tf.constant(seed[None]), (5,), dtype)[0], together[i], rtol=rtol, atol=0)
        np.testing.assert_allclose(draw(tf.constant(seeds[::-1].copy()), (5,), dtype), together[::-1], rtol=rtol, atol=0)
        assert len(np.unique(together)) == together.size

    def test_distribution(self):
        seeds = tf.constant([[3, i] for i in range(2000)], tf.int32)
        assert scipy.stats.kstest(uniforms(seeds, (2,), tf.float32).numpy().ravel(), "uniform").pvalue > 0.01
        assert scipy.stats.kstest(normals(seeds, (2,), tf.float32).numpy().ravel(), "norm").pvalue > 0.01

    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    @pytest.mark.parametrize("bits", [0, 2**32 - 1])
    def test_uniforms_stay_within_the_open_interval(self, dtype, bits, monkeypatch):
        # The least and the most that the generator can give; waiting for them would take 2^23 draws and more.
        monkeypatch.setattr(
            noise, "philox", lambda counter, key: [tf.fill(tf.shape(counter[0] + key[0]), tf.constant(bits, tf.uint32))] * 4
        )
        u = uniforms(tf.constant([[1, 2]], tf.int32), (2,), dtype).numpy()
        assert (u > 0).all() and (u < 1).all()
        assert np.isfinite(tfdgm.layers.normal_quantile(tf.constant(u))).all()
        assert np.isfinite(normals(tf.constant([[1, 2]], tf.int32), (2,), dtype)).all()

    # The known answers that the authors publish with Random123 (kat_vectors, philox4x32 with 10 rounds).
    @pytest.mark.parametrize(
        ("counter", "key", "answer"),
        [
            ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
            ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
            (
                [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
                [0xA4093822, 0x299F31D0],
                [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
            ),
        ],
    )
    def test_philox_known_answers(self, counter, key, answer):
        result = philox([tf.constant(c, tf.uint32) for c in counter], [tf.constant(k, tf.uint32) for k in key])
        assert [int(word) for word in result] == answer

    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    def test_stacked_seeds_in_a_graph(self, dtype):
        # TensorFlow's graph optimizer turns stack(...)[:, i, None] into the stacked tensor, without the new axis.
        def draw(first, second):
            return uniforms(tf.stack([first, second], axis=1), (30,), dtype)

        rows = tf.range(5), tf.range(5) + 7
        np.testing.assert_array_equal(tf.function(draw)(*rows), draw(*rows))

    @pytest.mark.parametrize("draw", [uniforms, normals])
    def test_xla_draws_the_same(self, draw):
        seeds = tf.constant([[1, i] for i in range(20)], tf.int32)
        compiled = tf.function(lambda s: draw(s, (3,), tf.float32), jit_compile=True)(seeds)
        np.testing.assert_allclose(compiled, draw(seeds, (3,), tf.float32), rtol=1e-5, atol=1e-6)
