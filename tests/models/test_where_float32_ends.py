"""Far from the data: log_prob is -infinity where float32 ends, never NaN, and samples stay finite, on every road."""

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import model_cases

import tfdgm

M = tfdgm.models
REAL = ("made_real", "maf", "maf_condition", "iaf", "realnvp", "realnvp_condition", "gaussian_mixture")


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
    @model_cases(*REAL)
    def test_scores_are_minus_infinity_and_not_nan(self, case, adapted):
        model = adapted(case)
        far = np.float32([1e17, 1e20, 1e30, 1e37, 3e38])
        x = np.concatenate([np.outer(far, [1, 1, 1]), np.outer(far, [0, 0, -1]), np.outer(far, [1, 0, -1])]).astype("float32")
        c = None if case.condition is None else np.resize(case.condition, (len(x), 2))
        scores = model.log_prob(x, c).numpy()
        assert not np.isnan(scores).any() and (scores < -1e20).all() and (scores[4::5] == -np.inf).all()
        given = {} if c is None else {"condition": tf.constant(c)}
        model.compile("adam")
        for found in (
            model.distribution.log_prob(x, **given),
            model(tf.constant(x), **given),
            model.predict(x, c, verbose=0),
            tfdgm.serving.signatures.signatures(model)["log_prob"](x=tf.constant(x), **given)["log_prob"],
        ):
            np.testing.assert_array_equal(np.isinf(found), np.isinf(scores))
            np.testing.assert_allclose(found, scores, rtol=1e-3)

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
