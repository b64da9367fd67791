import logging

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.tasks import fisher_scores, network_checks
from tfdgm.traced import traced

X = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")


@pytest.fixture
def warned():
    """What TensorFlow logs."""
    records, handler = [], logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger, level = tf.get_logger(), tf.get_logger().level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)  # Commands that ran before in this process have left errors alone.
    yield records
    logger.setLevel(level)
    logger.removeHandler(handler)


class TestTraced:
    def test_functions_of_one_code_are_counted_apart(self, warned):
        for _ in range(12):
            traced(lambda x: x + 1)(tf.zeros(2))
        assert warned == []

    def test_one_function_of_many_shapes_still_warns(self, warned):
        function = traced(lambda x: x + 1)
        for n in range(12):
            function(tf.zeros(n))
        assert "triggered tf.function retracing" in warned[0]


class TestManyModels:
    """Six: TensorFlow warns from the fifth on."""

    def test_every_road_of_a_model(self, warned):
        for _ in range(6):
            model = tfdgm.DensityModel.from_distribution(tfd.MultivariateNormalDiag(tf.Variable([0.0, 1.0])))
            model.compile("adam", jit_compile=False)
            model.fit(X, validation_split=0.1, verbose=0)
            model.predict(X, verbose=0)
            model.test_on_batch(X)
            model.log_prob(X)
            model.sample(2)
        assert warned == []

    def test_tasks(self, warned):
        made = tfdgm.models.MADE((2,), levels=4, hidden_units=(2,))
        for _ in range(6):
            fisher_scores(made, np.zeros((3, 2), int))
            network_checks.connections(made.distribution.network)
        assert warned == []
