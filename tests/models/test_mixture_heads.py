"""Components of a mixture start apart in every model: those that start equal stay equal where no input tells them apart."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfdgm

M = tfdgm.models
K = 4
IMAGE = {"event_shape": (4, 4), "levels": 16, "num_components": K}
SMALL = {"filters": 8, "num_layers": 1, "head_filters": 8}
MODELS = {
    "made": (M.MADE, {"event_shape": (3,), "levels": None, "num_components": K, "hidden_units": (8,)}),
    "made_one_dimension": (M.MADE, {"event_shape": (1,), "levels": None, "num_components": K, "hidden_units": (8,)}),
    "made_condition": (
        M.MADE,
        {"event_shape": (1,), "levels": None, "num_components": K, "hidden_units": (8,), "condition_shape": (2,)},
    ),
    "pixelcnn": (M.PixelCNN, {**IMAGE, **SMALL}),
    "gated_pixelcnn": (M.GatedPixelCNN, {**IMAGE, **SMALL}),
    "gated_pixelcnn_rgb": (
        M.GatedPixelCNN,
        {**IMAGE, "event_shape": (2, 2, 3), "filters": 12, "num_layers": 1, "head_filters": 12},
    ),
    "pixelrnn": (M.PixelRNN, {**IMAGE, **SMALL}),
    "pixelsnail": (M.PixelSNAIL, {**IMAGE, "filters": 8, "num_blocks": 1, "num_layers": 1, "key_size": 4}),
    "image_transformer": (
        M.ImageTransformer,
        {**IMAGE, "hidden_size": 8, "num_layers": 1, "num_heads": 2, "feed_forward_size": 8},
    ),
    "multiscale_pixelcnn": (
        M.MultiscalePixelCNN,
        {**IMAGE, "num_scales": 1, "filters": 8, "num_layers": 1, "base_layers": 1, "head_filters": 8},
    ),
    "pixelcnn_plus_plus": (M.PixelCNNPlusPlus, {**IMAGE, "filters": 4, "num_downsamplings": 1, "dropout": 0.0}),
    "pixelcnn_plus_plus_rgb": (
        M.PixelCNNPlusPlus,
        {**IMAGE, "event_shape": (2, 2, 3), "filters": 4, "num_downsamplings": 1, "dropout": 0.0},
    ),
}


def means_of_no_input(model):
    """The components' means of each position [D, K] where all weights but the output's biases say nothing."""
    distribution = (
        model.distribution if isinstance(model.distribution, tfdgm.distributions.Autoregressive) else model.distribution.base
    )
    network = distribution.network
    for weight in network.weights:
        if "bias" not in weight.path.split("/")[-1]:
            weight.assign(tf.zeros_like(weight))
    given = {} if network.condition_shape is None else {"condition": tf.zeros((1, *network.condition_shape), tf.float64)}
    params = network(tf.zeros((1, *network.event_shape), tf.float64), **given).numpy()
    return params.reshape(-1, 3, K)[:, 1]


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", MODELS)
class TestEveryHead:
    def make(self, name):
        cls, config = MODELS[name]
        return cls(**config, dtype="float64")

    def test_apart_without_data(self, name):
        assert (np.diff(np.sort(means_of_no_input(self.make(name)))) > 0.1).all()

    def test_at_the_quantiles_of_data(self, name):
        model = self.make(name)
        random = np.random.default_rng(0)
        if model.levels is None:
            x = random.normal(size=(400, *model.event_shape)) * 5 + 20
            expected = scipy.stats.norm.ppf((np.arange(K) + 0.5) / K)  # Of x standardised.
        else:
            x = random.integers(4, 12, (400, *model.event_shape))  # Half of the levels, in the middle.
            expected = (np.array([4.5, 6.5, 8.5, 10.5]) - 7.5) / 7.5
        condition = None if model.condition_shape is None else random.normal(size=(400, *model.condition_shape))
        model.adapt(x, condition)
        found = np.sort(means_of_no_input(model))
        np.testing.assert_allclose(found, np.repeat(expected[None], len(found), axis=0), atol=0.25 * np.ptp(expected))
        assert (np.diff(found) > 0.1 * np.ptp(expected)).all()


class TestOneDimension:
    @pytest.mark.slow
    def test_two_modes_are_found(self):
        # With components that start equal, all stay where one normal would be: -2.12 nats.
        random = np.random.default_rng(0)
        x = (random.normal(size=(2000, 1)) * 0.3 + random.choice([-2, 2], (2000, 1))).astype("float32")
        two = np.log(0.5 * scipy.stats.norm(-2, 0.3).pdf(x) + 0.5 * scipy.stats.norm(2, 0.3).pdf(x)).mean()
        model = M.MADE((1,), levels=None, hidden_units=(4,))
        model.compile(keras.optimizers.Adam(3e-2))
        model.fit(x, epochs=25, batch_size=200, verbose=0)
        assert model.evaluate(x, verbose=0) < -two + 0.05
        assert np.mean(np.abs(model.sample(2000, seed=1)) < 1) < 0.01

    def test_more_components_than_rows(self):
        model = M.GaussianMixture((2,), num_components=5)
        for rows in ([[1.0, 2.0]], [[1.0, 2.0], [3.0, 1.0]]):
            model.adapt(np.array(rows))
            means = model.distribution.base.means.numpy()
            assert len(np.unique(means.round(4), axis=0)) == 5
            assert np.isfinite(model.log_prob(np.array(rows))).all()
