"""Of every named model: the density integrates, or the probabilities sum, to 1."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes, sums_to_1
from contracts.weights import randomize

import tfdgm
from tfdgm.tasks import density_checks

pytestmark = pytest.mark.usefixtures("eagerly")


class TestTotalMass:
    """Of untrained, random and trained models: D = 1 and 2 by integral, small discrete ones by their sum."""

    REAL = {
        "made 1": lambda **k: tfdgm.models.MADE((1,), levels=None, num_components=3, hidden_units=(8,), **k),
        "made 2": lambda **k: tfdgm.models.MADE((2,), levels=None, num_components=3, hidden_units=(8,), **k),
        "maf 1": lambda **k: tfdgm.models.MAF((1,), num_layers=2, hidden_units=(8,), **k),
        "maf 2": lambda **k: tfdgm.models.MAF((2,), num_layers=2, hidden_units=(8,), act_norm=True, **k),
        "iaf 2": lambda **k: tfdgm.models.IAF((2,), num_layers=2, hidden_units=(8,), **k),
        "realnvp 2": lambda **k: tfdgm.models.RealNVP((2,), num_layers=2, hidden_units=(8,), **k),
        "gaussian_mixture 1": lambda **k: tfdgm.models.GaussianMixture((1,), num_components=2, **k),
        "gaussian_mixture 2": lambda **k: tfdgm.models.GaussianMixture((2,), num_components=2, **k),
    }

    @pytest.mark.slow
    @pytest.mark.parametrize("name", REAL)
    def test_real(self, name):
        model = self.REAL[name](dtype="float64")
        model.use_xla = False
        size = model.event_shape[0]
        log_prob = tf.function(model.distribution.log_prob_of_rows)  # One trace for the three states.

        def total_mass(state):
            samples = model.sample(2000, seed=1).numpy()
            points = 4097 if size == 1 else 301
            passes(density_checks.total_mass(f"{name}, {state}", log_prob, samples, 1e-3, points=points))

        total_mass("untrained")
        x = np.random.default_rng(0).normal(size=(256, size))
        x = 5 * (x + 2 * np.sign(x[:, :1])) + 100
        model.compile(keras.optimizers.Adam(3e-2))
        model.fit(x, epochs=2, batch_size=64, verbose=0)
        total_mass("trained")
        randomize(model, scale=0.7)
        total_mass("random")

    @pytest.mark.parametrize("levels", [2, 3])
    def test_discrete(self, levels):
        model = randomize(tfdgm.models.MADE((2, 3), levels=levels, hidden_units=(12,), input_order="random"))
        model.use_xla = False
        sums_to_1(model.log_prob, (2, 3), levels, 1e-5)
        model.compile(keras.optimizers.Adam(1e-2))
        model.fit(np.random.default_rng(0).integers(0, levels, (128, 2, 3)) ** 2 % levels, epochs=3, verbose=0)
        sums_to_1(model.log_prob, (2, 3), levels, 1e-5)

    def test_under_a_condition(self):
        model = randomize(tfdgm.models.MAF((1,), num_layers=2, hidden_units=(8,), condition_shape=(2,), dtype="float64"))
        model.use_xla = False
        for condition in ([0.0, 0.0], [2.0, -3.0]):
            samples = model.sample(2000, seed=1, condition=np.array(condition)).numpy()
            passes(density_checks.total_mass("maf", lambda x, c=condition: model.log_prob(x, condition=c), samples, 1e-3))
