import numpy as np
import pytest
import tensorflow as tf

import tfdgm

#: Years and energies, beside a column that is always the same.
SHIFT, SCALE = np.array([2005.0, 1.5e5]), np.array([9.0, 3e4])


class ConditionalModelContract:
    """Further tests of a model under conditions [2]: it standardises them, as x. Stands before the model's contract."""

    def twins(self):
        """Of the same weights, one adapted to conditions c [n, 2], the other to the same in other units; c; c in those units."""
        c = np.random.default_rng(3).normal(size=self.condition.shape)
        c = (c - c.mean(axis=0)) / c.std(axis=0)
        raw = c * SCALE + SHIFT
        one, other = (self.make(seed=1, dtype="float64") for _ in range(2))
        one.adapt(self.x, c)
        other.adapt(self.x, raw)
        return one, other, c[:6], raw[:6]

    def test_units_of_the_condition_do_not_matter_on_any_road(self):
        one, other, c, raw = self.twins()
        x = self.x[:6]
        expected = one.log_prob(x, c).numpy()
        x_tensor, raw_tensor = tf.constant(x, other.distribution.dtype), tf.constant(raw)
        other.compile("adam")
        for found in (
            other.log_prob(x, raw),
            other.predict(x, raw, verbose=0),
            other(x_tensor, condition=raw_tensor),
            other.distribution.log_prob(x_tensor, condition=raw_tensor),
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-9)
        np.testing.assert_allclose(other.evaluate(x, raw, verbose=0), -expected.mean(), rtol=1e-9)
        samples = one.sample(6, seed=1, condition=c)
        np.testing.assert_allclose(other.sample(6, seed=1, condition=raw), samples, rtol=1e-7, atol=1e-9)
        assert np.abs(one.log_prob(x, c[::-1].copy()) - expected).max() > 1e-4  # The condition says something.

    @pytest.mark.slow
    def test_units_of_the_condition_do_not_matter_in_signatures(self):
        one, other, c, raw = self.twins()
        x, signatures = self.x[:6], tfdgm.serving.signatures.signatures(other)
        scores = signatures["log_prob"](x=tf.constant(x, other.distribution.dtype), condition=tf.constant(raw))["log_prob"]
        np.testing.assert_allclose(scores, one.log_prob(x, c), rtol=1e-9)
        seeds = tf.constant([[1, i] for i in range(6)], tf.int32)
        samples = signatures["sample"](seed=seeds, condition=tf.constant(raw))["x"]
        np.testing.assert_allclose(samples, one.sample(6, seed=1, condition=c), rtol=1e-7, atol=1e-9)
