"""What a distribution says that it can do, as methods, as signatures, and as a sample with its density."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.cases import CASES, model_cases

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


class TestFromNoiseAndLogProb:
    def test_is_one_pass(self, monkeypatch):
        for name in ("maf", "made_categorical"):
            distribution = CASES[name].exact().distribution
            for method in ("_log_prob_of_rows", "_from_noise"):
                monkeypatch.setattr(distribution, method, lambda *_: 1 / 0)
            x, log_prob = distribution.from_noise_and_log_prob(distribution.draw_noise(tf.constant([[3, 0]], tf.int32)))
            assert np.isfinite(log_prob).all() and x.shape[0] == 1


class TestEncodeAndDecode:
    @model_cases("maf", "maf_condition", "realnvp", "iaf")
    def test_are_inverse_and_explain_the_score(self, case):
        model, condition = case.exact(), case.first(6).get("condition")
        x = case.x[:6]
        z, log_det = model.encode(x, condition)
        assert z.shape == x.shape and log_det.shape == (6,)
        np.testing.assert_allclose(model.decode(z, condition), x, rtol=1e-8, atol=1e-8)
        normal = scipy.stats.norm.logpdf(z).reshape(6, -1).sum(axis=1)
        np.testing.assert_allclose(normal + log_det, model.log_prob(x, condition), rtol=1e-10)

    def test_integers(self):
        model = CASES["maf_levels_act_norm"].exact()
        x = CASES["maf_levels_act_norm"].x[:6]
        z, log_det = model.encode(x)
        np.testing.assert_array_equal(model.decode(z), x)
        normal = scipy.stats.norm.logpdf(z).reshape(6, -1).sum(axis=1)
        np.testing.assert_allclose(normal + log_det, model.log_prob(x), rtol=1e-10)

    def test_batches_of_any_shape_and_no_rows(self):
        model, x = CASES["maf"].exact(), CASES["maf"].x[:6]
        z, log_det = model.encode(x.reshape(2, 3, -1))
        one_by_one = [model.encode(row) for row in x]
        np.testing.assert_allclose(tf.reshape(z, x.shape), [z for z, _ in one_by_one], rtol=1e-12)
        np.testing.assert_allclose(tf.reshape(log_det, (6,)), [d for _, d in one_by_one], rtol=1e-12)
        z, log_det = model.encode(x[:0])
        assert z.shape == (0, 3) and log_det.shape == (0,) and model.decode(z).shape == (0, 3)

    def test_errors(self):
        model = CASES["maf"].exact()
        with pytest.raises(ValueError, match=r"`z` must end in event_shape=\(3,\). Received: z.shape=\(2, 4\)"):
            model.decode(np.zeros((2, 4)))
        with pytest.raises(ValueError, match="`z` must be finite"):
            model.decode(np.full((1, 3), np.nan))
        with pytest.raises(ValueError, match="`x` must be finite"):
            model.encode(np.full((1, 3), np.inf))
        for name, given in (("encode", np.zeros((1, 3))), ("decode", np.zeros((1, 3)))):
            with pytest.raises(ValueError, match=f"`{name}` needs a flow.*Received: MADE, whose distribution is Autoregressive"):
                getattr(CASES["made_binary"].make(), name)(given)
        with pytest.raises(ValueError, match=r"`complete` needs an autoregressive model.*Received: MAF"):
            model.complete(np.zeros((1, 3)), np.zeros((1, 3)))


class TestFunctions:
    def test_others_can_nothing_more(self):
        normal = tfdgm.distributions.StandardNormal((3,))
        assert normal.functions() == {} and tfdgm.distributions.Dequantized(normal, 4).functions() == {}
