import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.checks import passes
from contracts.weights import randomize

from tfdgm.tasks import density_checks


@pytest.mark.usefixtures("eagerly")
@pytest.mark.filterwarnings("ignore:.* over one dimension can only be a Gaussian")
class TotalMassContract:
    """The density of a model over 1 and 2 real numbers integrates to 1, untrained, trained and with random weights; a subclass
    gives `cls` and `configs`, by name; those after the first are slow."""

    cls = None
    configs = {}
    tolerance = 1e-3

    def pytest_generate_tests(self, metafunc):
        if "config_name" in metafunc.fixturenames:
            marks = [[], *[[pytest.mark.slow]] * (len(self.configs) - 1)]
            configs = [pytest.param(name, marks=mark) for name, mark in zip(self.configs, marks, strict=True)]
            metafunc.parametrize("config_name", configs)

    def test_total_mass(self, config_name):
        model = self.cls(**self.configs[config_name], dtype="float64")
        model.use_xla = False
        size = model.event_shape[0]
        log_prob = tf.function(model.distribution.log_prob_of_rows)  # One trace for the three states.

        def total_mass(state):
            samples = model.sample(2000, seed=1).numpy()
            points = 4097 if size == 1 else 301
            passes(density_checks.total_mass(state, log_prob, samples, self.tolerance, points=points))

        total_mass("untrained")
        x = np.random.default_rng(0).normal(size=(256, size))
        x = 5 * (x + 2 * np.sign(x[:, :1])) + 100
        model.compile(keras.optimizers.Adam(3e-2))
        model.fit(x, epochs=2, batch_size=64, verbose=0)
        total_mass("trained")
        randomize(model, scale=0.7)
        total_mass("random")
