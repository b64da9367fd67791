import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from contracts.cases import CASES

from tfdgm.distributions.tempered import tempered

SEEDS = tf.constant([[5, i] for i in range(4000)], tf.int32)


def made(name):
    model = CASES[name].make(seed=2)
    model.adapt(CASES[name].x, CASES[name].condition)
    return model.distribution


def draw(distribution):
    return distribution.from_noise(distribution.draw_noise(SEEDS)).numpy()


class TestTempered:
    @pytest.mark.parametrize("name", ["made_binary", "made_categorical"])
    @pytest.mark.parametrize("temperature", [0.4, 2.0])
    def test_logits_are_divided(self, name, temperature):
        """Against the product of softmaxes of the network's logits, over all events."""
        distribution = made(name)
        cold = tempered(distribution, temperature)
        shape, levels = distribution.event_shape.as_list(), distribution.levels
        events = np.array(list(itertools.product(range(levels), repeat=int(np.prod(shape))))).reshape(-1, *shape)
        logits = np.asarray(distribution.network(tf.cast(events, tf.float32)), np.float64) / temperature
        if levels == 2:  # One logit, of x = 1.
            logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
        each = np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), events[..., None], axis=-1)
        expected = each.reshape(len(events), -1).sum(axis=1)
        np.testing.assert_allclose(cold.log_prob_of_rows(tf.constant(events)), expected, rtol=1e-4, atol=1e-4)
        drawn = draw(cold).reshape(len(SEEDS), -1)
        numbers = {tuple(event): i for i, event in enumerate(events.reshape(len(events), -1))}
        counts = np.bincount([numbers[tuple(row)] for row in drawn], minlength=len(events))
        common = np.exp(expected) * len(SEEDS) > 5
        observed = np.append(counts[common], counts[~common].sum())
        probable = np.append(np.exp(expected[common]), np.exp(expected[~common]).sum())
        used = probable * len(SEEDS) > 1
        probable = probable[used] / probable[used].sum() * observed[used].sum()
        assert scipy.stats.chisquare(observed[used], probable).pvalue > 1e-3

    @pytest.mark.parametrize("name", ["maf", "iaf", "realnvp"])
    def test_a_flows_base_is_scaled(self, name):
        distribution = made(name)
        cold = tempered(distribution, 0.5)
        z, log_det = (value.numpy().astype(np.float64) for value in distribution.to_base(tf.constant(draw(cold))))
        assert z.std() == pytest.approx(0.5, rel=0.02)
        assert distribution.source.is_standard_normal and not cold.source.is_standard_normal and cold.source.noise_law == "normal"
        expected = scipy.stats.norm.logpdf(z, scale=0.5).sum(axis=1) + log_det
        np.testing.assert_allclose(cold.log_prob_of_rows(tf.constant(draw(cold))), expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(
            draw(cold), distribution.from_base(0.5 * distribution.draw_noise(SEEDS))
        )  # The same seed, the same noise.

    def test_one_changes_nothing(self):
        for name in ("made_categorical", "maf", "maf_levels_act_norm"):
            np.testing.assert_array_equal(draw(tempered(made(name), 1.0)), draw(made(name)))

    def test_integers_under_a_flow_stay_integers(self):
        cold = draw(tempered(made("realnvp_levels"), 1e-3))
        assert cold.dtype == np.int32 and (cold == cold[0]).mean() > 0.9 and cold.min() >= 0 and cold.max() <= 3

    def test_conditions_go_through(self):
        case = CASES["maf_condition"]
        distribution = made("maf_condition")
        condition = tf.constant(case.condition[:8])
        noise = distribution.draw_noise(SEEDS[:8])
        np.testing.assert_array_equal(
            tempered(distribution, 0.5).from_noise(noise, condition), distribution.from_noise(0.5 * noise, condition)
        )

    @pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
    def test_what_is_no_temperature(self, temperature):
        with pytest.raises(ValueError, match=r"`temperature` must be a positive number\. Received"):
            tempered(made("maf"), temperature)

    @pytest.mark.parametrize(
        ("name", "received"), [("made_real", "Autoregressive with MixtureOfNormals"), ("gaussian_mixture", "_Mixture")]
    )
    def test_what_has_none(self, name, received):
        with pytest.raises(ValueError, match=rf"A temperature needs .* Received: {received}"):
            tempered(made(name), 0.5)
