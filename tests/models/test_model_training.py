"""Of every named model: what training reaches."""

import keras
import numpy as np
import tensorflow as tf
from contracts.cases import CASES, FAST, model_cases


def mean_log_prob(model, case):
    """In batches of 16, for which `log_prob` is traced once."""
    batches = np.split(np.arange(len(case.x)), range(16, len(case.x), 16))
    return np.mean([model.log_prob(**{k: v[rows] for k, v in case.first(len(case.x)).items()}) for rows in batches])


class TestTraining:
    @model_cases(fast=FAST)
    def test_steps_reach_every_weight_change_scores_and_raise_the_likelihood(self, case):
        model = case.make(seed=1, dtype="float64")
        model.adapt(case.x, case.condition)
        x = tf.constant(case.x[:16], model.distribution.dtype)
        condition = None if case.condition is None else tf.constant(case.condition[:16], tf.float64)
        given = {} if condition is None else {"condition": condition}
        before = {"model": model.log_prob(x, **given), "distribution": model.distribution.log_prob(x, **given)}
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(model(x, condition=condition, training=True))
        for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
            assert gradient is not None, weight.path
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path
        start = [np.array(weight) for weight in model.trainable_weights]
        model.compile(keras.optimizers.SGD(0.1, global_clipnorm=1.0))  # Half of what Adam's step has to trace.

        # One step changes the score of the same tensor.
        model.fit(case.x[:16], None if condition is None else case.condition[:16], batch_size=16, verbose=0)
        for weight, value in zip(model.trainable_weights, start, strict=True):
            assert (np.array(weight) != value).any(), weight.path
        after = {"model": model.log_prob(x, **given), "distribution": model.distribution.log_prob(x, **given)}
        for name, scores in after.items():
            assert (np.abs(scores - before[name]) > 1e-9).all(), name
        np.testing.assert_allclose(after["model"], after["distribution"], rtol=1e-10)

        if case.name == "gaussian_mixture":  # Which EM has brought to its optimum already.
            return
        # From the weights that a new model has.
        model.set_weights(case.make(dtype="float64").get_weights())
        model.adapt(case.x, case.condition)
        before = mean_log_prob(model, case)
        model.fit(case.x, case.condition, epochs=8, batch_size=16, verbose=0)
        assert mean_log_prob(model, case) > before + 0.02

    @model_cases("made_binary_condition", "maf_levels_act_norm", "gaussian_mixture")
    def test_evaluate_gives_the_mean_negative_log_likelihood(self, case):
        model = case.make(seed=1)
        model.compile("adam")
        expected = -np.mean(model.lower_bound(case.x, case.condition, num_samples=1))
        if model.kind == "exact":
            np.testing.assert_allclose(expected, -mean_log_prob(model, case), rtol=1e-5)
        found = model.evaluate(case.x, case.condition, num_samples=1, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_the_step_is_traced_once(self, monkeypatch):
        case, traces = CASES["maf"], []
        model, step = case.make(), case.cls.train_step
        monkeypatch.setattr(case.cls, "train_step", lambda self, data: traces.append(data) or step(self, data))
        model.compile("adam")
        model.fit(case.x, batch_size=16, epochs=2, verbose=0)
        assert len(traces) == 1
