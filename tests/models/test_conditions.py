"""Conditions are standardised inside every model, as x is, and travel with it."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.cases import CASES
from contracts.conditional_model import SCALE, SHIFT

import tfdgm
from tfdgm.distributions.tempered import tempered
from tfdgm.layers import Standardize
from tfdgm.training import AutoregressiveTrainer


@pytest.mark.usefixtures("eagerly")
class TestStandardized:
    def test_it_is_set_from_training_data_and_no_step_moves_it(self):
        case = CASES["maf_condition"]
        model = case.make()
        model.compile(keras.optimizers.SGD(1e-3))
        raw = case.condition * SCALE + SHIFT
        model.fit(case.x, raw, epochs=2, batch_size=16, verbose=0)
        scaling = model.distribution.condition_scaling
        np.testing.assert_allclose(scaling.mean, raw.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(scaling.scale, raw.std(axis=0), rtol=1e-5)
        assert not any(weight is w for weight in scaling.weights for w in model.trainable_weights)

    def test_it_travels_in_the_artifact(self, tmp_path):
        case = CASES["gated_pixelcnn"]
        model = case.make(seed=1)
        model.adapt(case.x, case.condition * SCALE + SHIFT)
        model.export(tmp_path / "1")
        again = tfdgm.load(tmp_path)
        again.use_xla = False
        np.testing.assert_array_equal(again.log_prob(case.x, case.condition * 20), model.log_prob(case.x, case.condition * 20))

    def test_an_artifact_from_before_takes_conditions_as_they_come(self, tmp_path, monkeypatch):
        case = CASES["made_binary_condition"]
        model = case.make(seed=1)
        everything = type(model).weights
        scaling = {id(w) for w in model.distribution.condition_scaling.weights}
        with monkeypatch.context() as patch:
            patch.setattr(type(model), "weights", property(lambda m: [w for w in everything.fget(m) if id(w) not in scaling]))
            model.distribution.condition_scaling = None
            model.export(tmp_path / "1")
        fresh = case.make(seed=2)
        fresh.adapt(case.x, case.condition + 7)
        fresh.restore(tmp_path / "1")
        np.testing.assert_array_equal(fresh.log_prob(case.x, case.condition), model.log_prob(case.x, case.condition))

    def test_tempered_shares_it(self):
        for name in ("gated_pixelcnn", "realnvp_condition"):
            case = CASES[name]
            model = case.make(seed=1)
            model.adapt(case.x, case.condition * SCALE + SHIFT)
            same = tempered(model.distribution, 1.0)
            x = tf.constant(case.x, same.dtype)
            c = tf.constant(case.condition * SCALE + SHIFT, tf.float32)
            np.testing.assert_allclose(same.log_prob(x, condition=c), model.log_prob(case.x, c.numpy()), rtol=1e-5)

    def test_other_backends_trainer(self):
        case = CASES["gated_pixelcnn"]
        model = case.make(seed=1, dtype="float64")
        trainer = AutoregressiveTrainer(model.distribution.network, model.distribution.family)
        raw = case.condition.astype("float64") * SCALE + SHIFT
        trainer.adapt(case.x, raw)
        np.testing.assert_allclose(trainer.condition_scaling.mean, raw.mean(axis=0))
        model.adapt(case.x, raw)
        scores = trainer({"x": case.x[:4], "condition": raw[:4]})
        np.testing.assert_allclose(scores, model.log_prob(case.x[:4], raw[:4]), rtol=1e-9)


class TestYearsAsConditions:
    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:MAF over one dimension can only be a Gaussian")
    def test_reach_what_scipy_says(self):
        # Conditions as they come gave 35 nats.
        r = np.random.default_rng(0)
        year = r.integers(1990, 2021, (2000, 1)).astype(float)
        x = (year - year.mean()) / 3 + 0.3 * r.normal(size=(2000, 1))
        best = -scipy.stats.norm((year - year.mean()) / 3, 0.3).logpdf(x).mean()
        model = tfdgm.models.MAF((1,), num_layers=1, hidden_units=(16,), condition_shape=(1,))
        model.compile(keras.optimizers.Adam(1e-2))
        model.fit(x, year, epochs=30, batch_size=100, verbose=0)
        assert model.evaluate(x, year, verbose=0) < best + 0.15


class TestStandardize:
    def test_a_constant_entry_keeps_the_scale_1(self):
        layer = Standardize((2,), dtype="float64")
        layer.adapt(np.array([[5.0, 1e9], [5.0, 1e9 + 1]]))
        np.testing.assert_allclose(layer(np.array([[6.0, 1e9 + 1]])), [[1.0, 1.0]])
        layer.reset()
        np.testing.assert_allclose(layer(np.array([[6.0, 7.0]])), [[6.0, 7.0]])
        again = Standardize.from_config(layer.get_config())
        assert again.shape == (2,) and len(again.weights) == 2

    def test_flows_take_what_their_parts_take(self):
        bijector = CASES["maf_condition"].make().distribution.bijector
        assert tfdgm.distributions.Flow(bijector, (3,)).condition_shape == (2,)
        for shape, parts in (((5,), bijector), ((2,), tfdgm.bijectors.Permute([0, 1, 2]))):
            with pytest.raises(
                ValueError, match=rf"`condition_shape` must be that of.*Received: condition_shape=\({shape[0]},\)"
            ):
                tfdgm.distributions.Flow(parts, (3,), condition_shape=shape)
