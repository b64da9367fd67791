import itertools
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.checks import passes, sums_to_1
from contracts.weights import randomize
from keras import ops

from tfdgm import families, networks
from tfdgm.networks import AutoregressiveLikelihood, AutoregressiveNetwork
from tfdgm.tasks import network_checks


def made(params_size=1, event_shape=(4,), **config):
    config = {"hidden_units": (12,), "activation": "tanh", "dtype": "float64", **config}
    return randomize(networks.MADE(event_shape, params_size=params_size, **config), 1)


def uniforms(likelihood, n):
    shape = (n, *likelihood.network.grid_shape, likelihood.family.uniforms_size)
    return tf.constant(np.random.default_rng(2).uniform(size=shape))


def log_prob(likelihood):
    return lambda x: tf.reduce_sum(tf.reshape(likelihood(tf.constant(x)), (len(x), -1)), axis=-1)


def samples_follow(likelihood, levels, n=4000):
    """Asserts that samples are levels, have the probabilities that score them, and come with these scores."""
    noise = uniforms(likelihood, n)
    x, scores = (value.numpy() for value in likelihood.sample_and_log_prob(noise))
    np.testing.assert_array_equal(x, likelihood.sample(noise))
    np.testing.assert_allclose(scores, likelihood(x), rtol=1e-10, atol=1e-12)
    shape, base = likelihood.network.event_shape, max(levels)
    events = np.array(list(itertools.product(*map(range, levels))))
    expected = n * np.exp(log_prob(likelihood)(events.reshape(-1, *shape)))
    places = base ** np.arange(len(levels))
    counts = np.bincount(x.reshape(n, -1).astype(int) @ places, minlength=base ** len(levels))[events @ places]
    assert counts.sum() == n and (counts[expected == 0] == 0).all()
    common = expected > 5
    counts, expected = ([*a[common], a[~common].sum()] for a in (counts, expected))
    used = np.array(expected) > 1
    expected = np.array(expected)[used]
    assert scipy.stats.chisquare(np.array(counts)[used], expected * np.sum(np.array(counts)[used]) / expected.sum()).pvalue > 0.01


class Pixels(AutoregressiveNetwork):
    """Pixels of two colours, a vector each: params of a pixel = b + W_t [all pixels before]."""

    def __init__(self, num_pixels, params_size, levels=None, order=None, **kwargs):
        order = np.arange(num_pixels) if order is None else order
        super().__init__((num_pixels, 2), params_size, order, levels=levels, position_shape=(2,), **kwargs)
        self.kernel = self.add_weight(shape=(num_pixels, 2, num_pixels, params_size), name="kernel")
        self.bias = self.add_weight(shape=(num_pixels, params_size), name="bias")
        rank = np.argsort(self.order)
        self.mask = (rank[:, None] < rank[None, :]).astype("float64")[:, None, :, None]
        self.built = True

    def call(self, x, condition=None, training=None):
        return ops.einsum("nic,icjp->njp", self.seen(x), self.kernel * self.mask) + self.bias

    def initial_state(self, batch_size, condition=None):
        return ops.broadcast_to(self.bias, (batch_size, *self.bias.shape))

    def step(self, t, state):
        return state[:, ops.convert_to_tensor(self.order)[t]], state

    def see(self, t, x, state):
        at = ops.convert_to_tensor(self.order)[t]
        return state + ops.einsum("nc,cjp->njp", self.seen(x), (self.kernel * self.mask)[at])


class Pairs(families.Family):
    """Two levels in 0..2 together: one logit for each of the nine pairs."""

    params_size, levels, position_shape = 9, 3, (2,)

    def log_prob(self, params, x, position=None):
        return families.Categorical(9).log_prob(params, 3 * x[..., 0] + x[..., 1])

    def sample(self, params, uniforms, position=None):
        pair = families.Categorical(9).sample(params, uniforms)
        return ops.stack([pair // 3, pair % 3], axis=-1)


class TestPositionsThatAreVectors:
    @pytest.mark.parametrize("order", [None, (2, 0, 1)])
    def test_step_equals_call(self, order):
        network = randomize(Pixels(3, 4, order=order, dtype="float64"))
        assert network.grid_shape == (3,) and network.num_positions == 3 and network.event_size == 6
        assert network(tf.zeros((5, 3, 2))).shape == network.compute_output_shape((5, 3, 2)) == (5, 3, 4)
        rank = np.argsort(network.order)
        np.testing.assert_array_equal(network_checks.connections(network, rows=4), rank[None, :] > rank[:, None])
        passes(network_checks.cut_leaks("cuts", network))
        passes(network_checks.generation_equals_call("generate", network, by_steps=True, tolerance=1e-10))

    @pytest.mark.parametrize("order", [None, (1, 0)])
    def test_sums_to_1_and_samples_follow(self, order):
        likelihood = AutoregressiveLikelihood(randomize(Pixels(2, 9, levels=3, order=order, dtype="float64")), Pairs())
        assert likelihood(tf.zeros((5, 2, 2))).shape == (5, 2)
        sums_to_1(log_prob(likelihood), (2, 2), 3, 1e-10)
        samples_follow(likelihood, [3] * 4)

    def test_completion(self):
        likelihood = AutoregressiveLikelihood(randomize(Pixels(2, 9, levels=3, dtype="float64")), Pairs())
        x = np.random.default_rng(0).integers(0, 3, (20, 2, 2))
        known = np.broadcast_to([[1, 1], [0, 0]], x.shape)
        completed = likelihood.complete(uniforms(likelihood, 20), x, known).numpy()
        np.testing.assert_array_equal(completed[:, 0], x[:, 0])
        assert (completed[:, 1] != x[:, 1]).any()

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match=r"end in position_shape=\(3,\). Received: event_shape=\(4, 2\)"):
            type("Any", (Pixels,), {"__init__": AutoregressiveNetwork.__init__})((4, 2), 1, range(4), position_shape=(3,))
        with pytest.raises(ValueError, match=r"family's position_shape=\(\). Received: network.position_shape=\(2,\)"):
            AutoregressiveLikelihood(Pixels(2, 9), families.Categorical(9))


class Columns(families.Family):
    """Binary in the first column, 0..2 in the others."""

    params_size = 3

    def __init__(self, levels=(2, 3)):
        self.levels = levels

    def log_prob(self, params, x, position=None):
        binary = families.Bernoulli().log_prob(params[..., :1], x)
        return ops.where(ops.equal(position, 0), binary, families.Categorical(3).log_prob(params, x))

    def sample(self, params, uniforms, position=None):
        binary = families.Bernoulli().sample(params[..., :1], uniforms)
        return ops.where(ops.equal(position, 0), binary, families.Categorical(3).sample(params, uniforms))


class TestPositionsThatDiffer:
    @pytest.mark.parametrize("order", ["left-to-right", "right-to-left"])
    def test_sums_to_1_and_samples_follow(self, order):
        likelihood = AutoregressiveLikelihood(made(3, (2,), input_order=order), Columns())
        events = np.array(list(itertools.product(range(2), range(3))))
        np.testing.assert_allclose(np.exp(log_prob(likelihood)(events)).sum(), 1, rtol=1e-12)
        assert log_prob(likelihood)(np.array([[2, 0]])) == -math.inf
        samples_follow(likelihood, [2, 3])

    def test_rows_that_are_several_positions(self):
        # A group's pixels are drawn at once, with a position each.
        network = networks.MultiscalePixelCNN((2, 2), params_size=3, num_scales=1, filters=4, num_layers=1, dtype="float64")
        likelihood = AutoregressiveLikelihood(randomize(network), Columns(3))
        x = likelihood.sample(uniforms(likelihood, 500)).numpy()
        assert [set(np.unique(column)) for column in x.reshape(500, 4).T] == [{0, 1}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}]

    def test_all_levels(self):
        params, position = tf.constant(np.random.default_rng(0).normal(size=(4, 2, 3))), np.arange(2)
        family = Columns(3)
        table = family.log_probs(params, position)
        for level in range(3):
            np.testing.assert_allclose(table[..., level], family.log_prob(params, tf.fill((4, 2), np.float64(level)), position))


SIZES = {
    "MADE": {"hidden_units": (8,), "input_order": "right-to-left"},
    "PixelCNN": {"filters": 4, "num_layers": 1, "head_filters": 4},
    "GatedPixelCNN": {"filters": 4, "num_layers": 1, "head_filters": 4},
    "PixelRNN": {"filters": 4, "num_layers": 1, "head_filters": 4},
    "MultiscalePixelCNN": {"filters": 4, "num_layers": 1, "head_filters": 4, "num_scales": 1, "base_layers": 1},
    "PixelSNAIL": {"filters": 4, "num_blocks": 1, "num_layers": 1, "key_size": 2},
    "ImageTransformer": {"hidden_size": 4, "num_layers": 1, "num_heads": 1, "feed_forward_size": 4},
    "PixelCNNPlusPlus": {"filters": 4, "num_downsamplings": 1},
}


class TestLevels:
    @pytest.mark.usefixtures("eagerly")
    @pytest.mark.parametrize("name", SIZES)
    def test_are_seen_between_0_and_1_and_kept_as_they_are(self, name):
        def make(**levels):
            return randomize(getattr(networks, name)((2, 2), params_size=5, dtype="float64", **SIZES[name], **levels))

        network, plain = make(levels=5), make()
        again = type(network).from_config(network.get_config())
        assert (again.levels, again.event_shape, again.params_size, plain.levels) == (5, (2, 2), 5, None)
        x, noise = (np.random.default_rng(seed).uniform(size=(6, 2, 2)) for seed in (0, 1))
        x = np.floor(5 * x)
        np.testing.assert_array_equal(network(x), plain(x / 4))
        for way in ("generate", "generate_by_steps"):
            results = []
            for each, unit in ((network, 1), (plain, 4)):

                def emit(position, params, u, unit=unit):
                    return families.Categorical(5).sample(params, u[:, None]) / unit, [params]

                results.append(getattr(each, way)(emit, tf.constant(noise), output_shapes=[(5,)]))
            (x, [params]), (x_plain, [params_plain]) = results
            np.testing.assert_array_equal(x, 4 * x_plain)
            np.testing.assert_array_equal(params, params_plain)
            assert len(np.unique(x)) > 2

    def test_network_and_family_must_have_the_same(self):
        with pytest.raises(ValueError, match=r"see the family's levels=4, or x as it is. Received: network.levels=3"):
            AutoregressiveLikelihood(made(4, levels=3), families.Categorical(4))
        with pytest.raises(ValueError, match=r"`levels` must be an integer, 2 or more. Received: levels=1"):
            made(levels=1)


class TestEnd:
    """Sequences over 0..2 of up to three symbols, where 1 ends them."""

    def make(self, length=3, levels=3, end=1, **config):
        return AutoregressiveLikelihood(made(levels, (length,), levels=levels, **config), families.Categorical(levels), end=end)

    def test_sums_to_1_over_all_events(self):
        likelihood = self.make()
        sums_to_1(log_prob(likelihood), (3,), 3, 1e-10)
        events = np.array([[0, 2, 1], [0, 1, 1], [1, 1, 1], [0, 1, 0], [1, 0, 1], [1, 1, 2]])
        scores = log_prob(likelihood)(events).numpy()
        assert np.isfinite(scores[:3]).all() and (scores[3:] == -math.inf).all()
        # Up to the first end it is the likelihood without one.
        free = AutoregressiveLikelihood(likelihood.network, likelihood.family)
        np.testing.assert_array_equal(likelihood(events)[0], free(events)[0])
        np.testing.assert_array_equal(likelihood(events)[1], [*free(events)[1, :2], 0])

    def test_samples_follow(self):
        likelihood = self.make()
        samples_follow(likelihood, [3] * 3)
        assert likelihood.event.end == 1

    def test_completion(self):
        likelihood = self.make(4)
        n = 4000
        x, known = np.tile([[2, 0, 2, 0]], (n, 1)), np.tile([[1, 0, 0, 0]], (n, 1))
        completed = likelihood.complete(uniforms(likelihood, n), x, known).numpy().astype(int)
        assert (completed[:, 0] == 2).all()
        events = np.array([[2, *rest] for rest in itertools.product(range(3), repeat=3)])
        p = np.exp(log_prob(likelihood)(events))
        counts = np.bincount(completed[:, 1:] @ [9, 3, 1], minlength=27)
        assert (counts[p == 0] == 0).all()
        assert scipy.stats.chisquare(counts[p > 0], n * p[p > 0] / p.sum()).pvalue > 0.01
        # What is known is kept, whatever comes before it.
        x, known = np.tile([[1, 0, 2, 0]], (20, 1)), np.tile([[1, 0, 1, 0]], (20, 1))
        completed = likelihood.complete(uniforms(likelihood, 20), x, known)
        np.testing.assert_array_equal(completed, np.tile([[1, 1, 2, 1]], (20, 1)))

    def test_gradients_are_finite_and_of_what_comes_before(self):
        likelihood, x = self.make(), tf.constant([[0, 1, 1], [1, 1, 1], [2, 0, 2], [1, 2, 0]])
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(likelihood(x)[:3])
        gradients = tape.gradient(score, [w.value for w in likelihood.trainable_weights])
        assert all(g is not None and np.isfinite(g).all() for g in gradients) and any(np.abs(g).max() > 1e-3 for g in gradients)
        with tf.GradientTape() as tape:
            impossible = tf.reduce_sum(likelihood(x)[3])
        assert impossible == -math.inf
        for gradient in tape.gradient(impossible, [w.value for w in likelihood.trainable_weights]):
            assert np.isfinite(gradient).all()

    def test_float32(self):
        likelihood = self.make(dtype="float32")
        scores = likelihood(tf.constant([[0, 1, 1], [0, 1, 2]]))
        assert scores.dtype == likelihood.sample(tf.cast(uniforms(likelihood, 2), "float32")).dtype == tf.float32

    def test_what_has_no_end(self):
        with pytest.raises(ValueError, match=r"`end` needs a vector of integers 0..L-1. Received: shape=\(2, 2\), levels=3"):
            AutoregressiveLikelihood(made(3, (2, 2)), families.Categorical(3), end=1)
        with pytest.raises(ValueError, match=r"`end` needs a vector of integers 0..L-1. Received: shape=\(4,\), levels=None"):
            AutoregressiveLikelihood(made(2), families.Normal(), end=1)
        with pytest.raises(ValueError, match=r"order is 0..2. Received: \[2, 1, 0\]"):
            self.make(input_order="right-to-left")
        with pytest.raises(ValueError, match=r"`end` must be an integer, 0 to 2. Received: end=3"):
            self.make(end=3)
