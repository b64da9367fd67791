"""Keras's methods of one batch, which do not come through `fit`."""

import numpy as np
import pytest

import tfdgm

X, C = np.random.default_rng(0).normal(size=(8, 2)).astype("float32"), np.ones((8, 1), "float32")


@pytest.mark.parametrize("given", [(X,), (X, C), ({"x": X, "condition": C},)], ids=["x", "x and condition", "dict"])
def test_one_batch(given):
    condition_shape = (1,) if len(given) == 2 or isinstance(given[0], dict) else None
    model = tfdgm.models.MAF((2,), num_layers=1, hidden_units=(4,), condition_shape=condition_shape)
    model.use_xla = False
    model.compile("adam", run_eagerly=True)
    scores = model.log_prob(X, *([] if condition_shape is None else [C])).numpy()
    assert model.test_on_batch(*given) == pytest.approx(-scores.mean(), rel=1e-5)
    if condition_shape is None or len(given) == 1:
        np.testing.assert_allclose(model.predict_on_batch(*given), scores, rtol=1e-5)
    before = [w.numpy() for w in model.trainable_weights]
    model.train_on_batch(*given)
    assert any((w.numpy() != b).any() for w, b in zip(model.trainable_weights, before, strict=True))
