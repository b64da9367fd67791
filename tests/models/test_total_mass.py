"""Of every named model: the density integrates, or the probabilities sum, to 1."""

import keras
import numpy as np
import pytest
from contracts.checks import passes, sums_to_1
from contracts.weights import randomize

import tfdgm
from tfdgm.tasks import density_checks

pytestmark = pytest.mark.usefixtures("eagerly")


class TestTotalMass:
    """Of untrained, random and trained models: D = 1 and 2 by integral, small discrete ones by their sum."""

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
