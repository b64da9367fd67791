import numpy as np
import pytest
import tensorflow as tf


class MixtureFamilyContract:
    """Further tests of a mixture, params = [logits, means, raw scales]; a subclass gives `mixture(k)`, of k components."""

    @staticmethod
    def mixture(k):
        raise NotImplementedError

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("infinity", [np.inf, -np.inf])
    def test_all_the_weight_on_one_component_or_none(self, infinity, dtype):
        one = [0.3, -0.2]
        two = [[0, infinity], [one[0], 0.9], [one[1], 0.4]] if infinity < 0 else [[infinity, 0], [one[0], 0.9], [one[1], 0.4]]
        x = tf.range(self.mixture(1).levels or 3, dtype=dtype)
        mixed = self.mixture(2).log_prob(tf.constant(np.repeat([np.ravel(two)], len(x), axis=0), dtype), x)
        single = self.mixture(1).log_prob(tf.constant(np.repeat([[0, *one]], len(x), axis=0), dtype), x)
        np.testing.assert_allclose(mixed, single, rtol=1e-6)

    def test_components_start_apart(self):
        family = self.mixture(5)
        constant = np.zeros((50, 2))
        half = np.random.default_rng(0).integers(0, 2, (50, 2)).astype("float64")
        for params in (family.initial_params(), *(family.marginal_params(tf.constant(x)) for x in (constant, half, half[:1]))):
            means = np.sort(np.asarray(params).reshape(-1, 3, 5)[:, 1], axis=-1)
            assert (np.diff(means, axis=-1) > 1e-3).all()
            assert np.isfinite(params).all()
