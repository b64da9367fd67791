"""Mixtures of one dimension, whose components start apart (see `contracts.mixture_heads`)."""

import keras
import numpy as np
import pytest
import scipy.stats

import tfdgm

M = tfdgm.models


class TestOneDimension:
    @pytest.mark.slow
    def test_two_modes_are_found(self):
        # With components that start equal, all stay where one normal would be: -2.12 nats.
        random = np.random.default_rng(0)
        x = (random.normal(size=(2000, 1)) * 0.3 + random.choice([-2, 2], (2000, 1))).astype("float32")
        two = np.log(0.5 * scipy.stats.norm(-2, 0.3).pdf(x) + 0.5 * scipy.stats.norm(2, 0.3).pdf(x)).mean()
        model = M.MADE((1,), levels=None, hidden_units=(4,))
        model.compile(keras.optimizers.Adam(3e-2))
        model.fit(x, epochs=25, batch_size=200, verbose=0)
        assert model.evaluate(x, verbose=0) < -two + 0.05
        assert np.mean(np.abs(model.sample(2000, seed=1)) < 1) < 0.01

    def test_more_components_than_rows(self):
        model = M.GaussianMixture((2,), num_components=5)
        for rows in ([[1.0, 2.0]], [[1.0, 2.0], [3.0, 1.0]]):
            model.adapt(np.array(rows))
            means = model.distribution.base.means.numpy()
            assert len(np.unique(means.round(4), axis=0)) == 5
            assert np.isfinite(model.log_prob(np.array(rows))).all()
