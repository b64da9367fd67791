"""Far from the data: log_prob is -infinity where float32 ends, never NaN, and samples stay finite, on every road."""

import numpy as np
import pytest
import tensorflow as tf

import tfdgm

M = tfdgm.models


def deep(cls):
    """A flow of 60 layers each of which multiplies a sample by some e^5."""
    model = cls((2,), num_layers=60, hidden_units=(4,), standardize=False)
    model.use_xla = False
    for weight in model.trainable_weights:
        if weight.path.endswith("bias"):
            weight.assign(tf.fill(weight.shape, -20.0 if cls is M.IAF else 20.0))
    return model


@pytest.mark.usefixtures("eagerly")
class TestWhereFloat32Ends:
    @pytest.mark.slow
    @pytest.mark.parametrize("cls", [M.MAF, M.IAF, M.RealNVP])
    def test_deep_flows(self, cls):
        # Without a bound on what layers make, samples hold NaN.
        model = deep(cls)
        samples = model.sample(50, seed=1).numpy()
        assert np.isfinite(samples).all()
        scores = model.log_prob(np.concatenate([samples, np.random.default_rng(0).normal(size=(50, 2)) * 20])).numpy()
        assert not np.isnan(scores).any() and (scores < np.inf).all()
        signatures = tfdgm.serving.signatures.signatures(model)
        served = signatures["sample"](seed=tf.constant([[1, i] for i in range(50)], tf.int32))["x"].numpy()
        assert np.isfinite(served).all()
        np.testing.assert_allclose(served, samples, rtol=1e-3)
