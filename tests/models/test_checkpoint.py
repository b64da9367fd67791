"""tf.train.Checkpoint and CheckpointManager of whole models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import model_cases
from contracts.weights import randomize
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


class TestCheckpoint:
    @pytest.mark.slow
    @pytest.mark.parametrize("has_trained", [False, True])
    @model_cases("made_binary", "maf_levels_act_norm", "gaussian_mixture")
    def test_with_the_optimizer_training_goes_on(self, case, has_trained, tmp_path):
        whole = case.trained()
        manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=whole, optimizer=whole.optimizer), tmp_path, 2)
        manager.save()
        again = case.trained() if has_trained else case.make(seed=2)
        if not has_trained:
            again.compile("adam")
        restored = tf.train.Checkpoint(model=again, optimizer=again.optimizer).restore(manager.latest_checkpoint)
        restored.assert_existing_objects_matched()
        same(again.optimizer.variables, whole.optimizer.variables)
        for model in (whole, again):
            keras.utils.set_random_seed(2)
            model.fit(case.x, case.condition, epochs=1, batch_size=16, shuffle=False, verbose=0)
        same(again.weights, whole.weights)

    @pytest.mark.slow
    def test_from_distribution(self, tmp_path):
        def make(seed):
            network = tfdgm.networks.MADE((3,), params_size=2, hidden_units=(4, 4))
            flow = tfd.TransformedDistribution(
                tfd.MultivariateNormalDiag(tf.Variable([0.0, 1.0, seed]), tf.ones(3)),
                tfb.Chain([tfb.MaskedAutoregressiveFlow(Unstacked(network)), tfb.Scale(tf.Variable(2.0 + seed))]),
            )
            model = tfdgm.DensityModel.from_distribution(flow)
            return randomize(model, seed)

        model, other, x = make(1), make(2), np.ones((2, 3), "float32")
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / "c"))
        tf.train.Checkpoint(model=other).read(path).assert_consumed()
        same(other.weights, model.weights)
        np.testing.assert_array_equal(other.log_prob(x), model.log_prob(x))

    def test_another_model_does_not_match(self, tmp_path):
        a, b = (tfdgm.models.MAF((3,), num_layers=k, hidden_units=(4,)) for k in (1, 2))
        path = tf.train.Checkpoint(model=a).write(str(tmp_path / "c"))
        with pytest.raises(AssertionError):
            tf.train.Checkpoint(model=b).read(path).assert_existing_objects_matched()


class Unstacked(tf.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def __call__(self, x):
        return tuple(tf.unstack(self.network(x), axis=-1))
