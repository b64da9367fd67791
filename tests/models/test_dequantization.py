"""Flows over integers: what log_prob, lower_bound, evaluate and fit say of P(x)."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from contracts.cases import CASES

import tfdgm

EVENTS = np.array(list(itertools.product(range(3), repeat=2)), np.int32)


def exact(model):
    """log P(x) of all events: the density integrated over each cell, and beyond the edges where samples are cut off there."""
    beyond, fine = 0.056 * 3, 120  # ScaledSigmoid(3) reaches 5.6 % of the levels beyond.
    edges = np.concatenate(
        [np.linspace(-beyond, 0, 61)[:-1], np.linspace(0, 3, 3 * fine + 1), np.linspace(3, 3 + beyond, 61)[1:]]
    )
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    cell = np.clip(np.floor(middles), 0, 2).astype(int)
    grid = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(model.distribution.density.log_prob_of_rows(tf.constant(grid)).numpy()).reshape(len(middles), -1)
    p = np.zeros((3, 3))
    np.add.at(p, (cell[:, None] + 0 * cell, cell + 0 * cell[:, None]), density * widths[:, None] * widths)
    assert abs(p.sum() - 1) < 1e-3
    return np.log(p.ravel())


def scores_of_grid(model):
    """log p(x + u) of all events on a fine grid of u, [9, 100 * 100]."""
    u = (np.arange(100) + 0.5) / 100
    u = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    rows = np.repeat(EVENTS, len(u), axis=0)
    scores = model.distribution.log_prob_of_rows(rows, noise=np.tile(u, (len(EVENTS), 1))).numpy()
    return scores.reshape(len(EVENTS), -1)


def bound(model):
    """E log p(x + u) of all events."""
    return scores_of_grid(model).mean(axis=1)


@pytest.fixture(scope="module")
def model():
    """A flow far from trained, whose draws differ a lot."""
    case = CASES["maf_levels_act_norm"]
    return case.make(seed=3, event_shape=(2,), levels=3, dtype="float64", act_norm=False)


@pytest.mark.usefixtures("eagerly")
class TestEstimates:
    def test_one_draw_is_no_bound_and_the_mean_is(self, model):
        single, p = model.log_prob(EVENTS).numpy(), exact(model)
        assert model.kind == "estimate" and model.is_bound
        assert (single > p).any() and (bound(model) < p).all()

    @pytest.mark.slow
    def test_log_prob_of_many_samples_tends_to_the_exact_value(self, model):
        within = scipy.special.logsumexp(scores_of_grid(model), axis=1) - np.log(10_000)
        assert (within <= exact(model) + 1e-3).all()  # What lies beyond the edges is cut off in samples, and seen by no score.
        error = [np.abs(model.log_prob(EVENTS, num_samples=k).numpy() - within).max() for k in (1, 400)]
        assert error[1] < 0.25 < error[0]
        traced = tf.function(lambda x: model.log_prob(x, num_samples=5))(EVENTS)
        np.testing.assert_allclose(traced, model.log_prob(EVENTS, num_samples=5), rtol=1e-9)
        np.testing.assert_allclose(model.bits_per_dim(EVENTS, num_samples=5), -traced / 2 / np.log(2), rtol=1e-9)

    def test_lower_bound_has_noise_for_every_row(self, model):
        rows = np.repeat(EVENTS[4:5], 3000, axis=0)
        scores = model.lower_bound(rows, num_samples=4).numpy()
        assert len(np.unique(scores)) == 3000
        assert abs(scores.mean() - bound(model)[4]) < 5 * scores.std() / np.sqrt(3000)
        parts = [model.lower_bound(rows[:700], num_samples=4), model.lower_bound(rows[700:], num_samples=4, first_row=700)]
        np.testing.assert_array_equal(np.concatenate(parts), scores)

    def test_no_rows(self, model):
        for scores in (model.log_prob(EVENTS[:0]), model.log_prob(EVENTS[:0], num_samples=3), model.lower_bound(EVENTS[:0])):
            assert scores.shape == (0,) and scores.dtype == tf.float64

    @pytest.mark.slow
    def test_evaluate_is_above_the_exact_value_whatever_repeats(self, model):
        x = np.concatenate([np.repeat(EVENTS[k : k + 1], n, axis=0) for k, n in enumerate([900, 1, 300, 5, 60, 0, 0, 200, 34])])
        model.compile("adam")
        of_row = (x @ [3, 1]).astype(int)
        expected, scores = -bound(model)[of_row].mean(), model.lower_bound(x, num_samples=8).numpy()
        error = 5 * scores.std() / np.sqrt(len(x))
        found = model.evaluate(x, verbose=0)
        assert abs(found - expected) < error and found > -exact(model)[of_row].mean()
        data = tf.data.Dataset.from_tensor_slices(x).batch(64)
        np.testing.assert_allclose(model.evaluate(data, verbose=0), found, rtol=1e-12)
        np.testing.assert_allclose(model.evaluate(x, batch_size=500, verbose=0), found, rtol=1e-12)
        one = model.evaluate(x, num_samples=1, verbose=0)
        np.testing.assert_allclose(one, -np.mean(model.lower_bound(x, num_samples=1)), rtol=1e-12)
        assert abs(one - found) > 1e-6

    def test_validation_draws_the_same_in_every_epoch(self, model):
        frozen = CASES["maf_levels_act_norm"].make(event_shape=(2,), levels=3, act_norm=False)
        frozen.compile(keras.optimizers.SGD(0.0))
        history = frozen.fit(EVENTS, validation_data=EVENTS[:6], epochs=3, verbose=0).history
        assert len(set(history["val_loss"])) == 1 and len(set(history["loss"])) == 3

    @pytest.mark.parametrize("cls", [tfdgm.models.GaussianMixture, tfdgm.models.MAF])
    def test_adapt_promises_no_more_than_the_entropy(self, cls):
        x = np.random.default_rng(0).integers(0, 2, (2000, 4))
        model = cls((4,), levels=2, **({"num_components": 16} if cls is tfdgm.models.GaussianMixture else {"num_layers": 1}))
        model.use_xla = False
        model.adapt(x)
        entropy = 4 * np.log(2)
        assert np.mean(model.lower_bound(x)) < -entropy and np.mean(model.log_prob(x)) < -entropy + 0.3


class TestUsersOwnBound:
    class Own(tfdgm.distributions.Distribution):
        """A bound of its own: a normal with learned mean, minus a constant."""

        is_bound = True

        def __init__(self):
            super().__init__(tfdgm.Event((2,)), dtype=tf.float32)
            self.mean = tf.Variable([0.0, 0.0])

        def _log_prob_of_rows(self, x, condition, noise, known):
            return -0.5 * tf.reduce_sum((x - self.mean) ** 2, axis=-1) - np.log(2 * np.pi) - 0.1

        def draw_noise(self, seeds):
            return tfdgm.distributions.noise.normals(seeds, (2,), tf.float32)

        def _from_noise(self, noise, condition):
            return self.mean + noise

    def test_trains_and_scores(self):
        model = tfdgm.DensityModel.from_distribution(self.Own())
        assert model.kind == "lower bound" and model.is_bound
        x = np.random.default_rng(0).normal(size=(200, 2)).astype("float32") + 3
        model.compile(keras.optimizers.SGD(0.5))
        model.fit(x, epochs=5, verbose=0)
        np.testing.assert_allclose(model.distribution.mean, x.mean(axis=0), atol=0.1)
        np.testing.assert_allclose(model.evaluate(x, verbose=0), -np.mean(model.lower_bound(x)), rtol=1e-5)
