"""What a distribution says that it can do, as methods, as signatures, and as a sample with its density."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.cases import CASES, FAST, model_cases
from contracts.weights import randomize

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")


def made_ready(case, **changes):
    model = case.make(seed=1, dtype="float64", **changes)
    model.use_xla = False
    model.adapt(case.x, case.condition)
    return randomize(model, 1, scale=0.7)


def condition_of(case, n):
    return None if case.condition is None else case.condition[:n]


class TestFromNoiseAndLogProb:
    @model_cases(*CASES, fast=FAST)
    def test_is_the_sample_with_its_score(self, case):
        distribution = made_ready(case).distribution
        noise = distribution.draw_noise(tf.constant([[3, i] for i in range(5)], tf.int32))
        condition = condition_of(case, 5)
        condition = None if condition is None else tf.constant(condition, tf.float64)
        x, log_prob = distribution.from_noise_and_log_prob(noise, condition)
        np.testing.assert_allclose(x, distribution.from_noise(noise, condition), rtol=1e-12)
        np.testing.assert_allclose(log_prob, distribution.log_prob_of_rows(x, condition), rtol=1e-9)
        with pytest.raises(ValueError, match="`condition`"):
            distribution.from_noise_and_log_prob(noise, None if case.condition is not None else tf.zeros((5, 1)))

    def test_is_one_pass(self, monkeypatch):
        for name in ("maf", "made_categorical"):
            distribution = made_ready(CASES[name]).distribution
            for method in ("_log_prob_of_rows", "_from_noise"):
                monkeypatch.setattr(distribution, method, lambda *_: 1 / 0)
            x, log_prob = distribution.from_noise_and_log_prob(distribution.draw_noise(tf.constant([[3, 0]], tf.int32)))
            assert np.isfinite(log_prob).all() and x.shape[0] == 1


class TestEncodeAndDecode:
    @model_cases("maf", "maf_condition", "realnvp", "iaf")
    def test_are_inverse_and_explain_the_score(self, case):
        model, condition = made_ready(case), condition_of(case, 6)
        x = case.x[:6]
        z, log_det = model.encode(x, condition)
        assert z.shape == x.shape and log_det.shape == (6,)
        np.testing.assert_allclose(model.decode(z, condition), x, rtol=1e-8, atol=1e-8)
        normal = scipy.stats.norm.logpdf(z).reshape(6, -1).sum(axis=1)
        np.testing.assert_allclose(normal + log_det, model.log_prob(x, condition), rtol=1e-10)

    def test_integers(self):
        model = made_ready(CASES["maf_levels_act_norm"])
        x = CASES["maf_levels_act_norm"].x[:6]
        z, log_det = model.encode(x)
        np.testing.assert_array_equal(model.decode(z), x)
        normal = scipy.stats.norm.logpdf(z).reshape(6, -1).sum(axis=1)
        np.testing.assert_allclose(normal + log_det, model.log_prob(x), rtol=1e-10)

    def test_batches_of_any_shape_and_no_rows(self):
        model, x = made_ready(CASES["maf"]), CASES["maf"].x[:6]
        z, log_det = model.encode(x.reshape(2, 3, -1))
        one_by_one = [model.encode(row) for row in x]
        np.testing.assert_allclose(tf.reshape(z, x.shape), [z for z, _ in one_by_one], rtol=1e-12)
        np.testing.assert_allclose(tf.reshape(log_det, (6,)), [d for _, d in one_by_one], rtol=1e-12)
        z, log_det = model.encode(x[:0])
        assert z.shape == (0, 3) and log_det.shape == (0,) and model.decode(z).shape == (0, 3)

    def test_errors(self):
        model = made_ready(CASES["maf"])
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
    @model_cases(*CASES)
    def test_signatures_are_what_the_distribution_says(self, case):
        # Every function on two rows: the batch axis first in all that comes out.
        distribution = made_ready(case).distribution
        functions = distribution.functions()
        assert set(functions) in ({"encode", "decode"}, {"complete"})
        given = {} if case.condition is None else {"condition": tf.constant(case.condition[:2], tf.float64)}
        for function, specs in functions.values():
            values = {name: tf.zeros((2, *spec.shape[1:]), spec.dtype) for name, spec in specs.items()}
            for value in function(**values, **given).values():
                assert value.shape[0] == 2

    def test_others_can_nothing_more(self):
        normal = tfdgm.distributions.StandardNormal((3,))
        assert normal.functions() == {} and tfdgm.distributions.Dequantized(normal, 4).functions() == {}
