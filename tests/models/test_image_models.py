import numpy as np
import pytest
import tensorflow as tf
from contracts import randomize, sums_to_1

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")

PIXELCNN = {"filters": 12, "num_layers": 1, "first_kernel_size": 3, "head_filters": 12}
MULTISCALE = {"num_scales": 1, "filters": 12, "num_layers": 1, "base_layers": 1, "head_filters": 12}
#: Each image model with a small configuration. `event_shape` (of even sides) and `levels` are the tests'.
MODELS = {
    "PixelCNN": PIXELCNN,
    "GatedPixelCNN": PIXELCNN,
    "PixelRNN": PIXELCNN,
    "PixelSNAIL": {"filters": 12, "num_blocks": 1, "num_layers": 1, "key_size": 4},
    "ImageTransformer": {"hidden_size": 12, "num_layers": 1, "num_heads": 2, "feed_forward_size": 12},
    "MultiscalePixelCNN": MULTISCALE,
    "PixelCNNPlusPlus": {"filters": 6, "num_downsamplings": 0},
}
every_model = pytest.mark.parametrize("cls", MODELS)


def make(cls, event_shape=(2, 2), **changes):
    model = getattr(tfdgm.models, cls)(event_shape, **{**MODELS[cls], **changes})
    model.use_xla = False
    return randomize(model, scale=0.7)


@every_model
class TestProbabilities:
    @pytest.mark.parametrize(
        ("event_shape", "config"),
        [
            ((2, 2), {"levels": 3}),
            ((2, 4), {"levels": 2}),
            ((2, 2), {"levels": 3, "num_components": 2}),
            ((2, 2, 3), {"levels": 2}),
        ],
        ids=["3 levels", "binary", "mixture", "three channels"],
    )
    def test_sum_to_1_over_all_events(self, cls, event_shape, config):
        model = make(cls, event_shape, **config)
        sums_to_1(model.log_prob, event_shape, config["levels"], 1e-5)

    @pytest.mark.slow
    def test_sample_follows_them(self, cls):
        # Every event's frequency among 20,000 samples within five standard errors of its probability.
        model = make(cls, (2, 2), levels=3)
        sample = model.sample(20_000, seed=1).numpy().reshape(-1, 4)
        events = np.stack(np.meshgrid(*[range(3)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
        p = np.exp(model.log_prob(events.reshape(-1, 2, 2)))
        frequency = np.array([(sample == event).all(axis=1).mean() for event in events])
        assert (np.abs(frequency - p) <= 5 * np.sqrt(p * (1 - p) / len(sample)) + 1e-12).all()


class TestMultiscale:
    def test_probabilities_over_two_doublings_sum_to_1(self):
        model = make("MultiscalePixelCNN", (4, 4), num_scales=2)
        sums_to_1(model.log_prob, (4, 4), 2, 1e-5)

    @pytest.mark.parametrize(("pair", "independent"), [([(1, 1), (1, 3)], True), ([(1, 0), (1, 1)], False)])
    def test_pixels_of_one_group_are_independent(self, pair, independent):
        # The assumption of the model, and of none of its neighbours: log p(a, b) splits into a sum given all other pixels.
        model = make("MultiscalePixelCNN", (2, 4), levels=3, dtype="float64")
        x = np.repeat(np.random.default_rng(0).integers(0, 3, (1, 2, 4)), 4, axis=0)
        for i, value in zip((0, 1), ([0, 0, 2, 2], [0, 2, 0, 2]), strict=True):
            x[:, pair[i][0], pair[i][1]] = value
        log_p = model.log_prob(x).numpy()
        interaction = abs(log_p[0] + log_p[3] - log_p[1] - log_p[2])
        assert interaction < 1e-12 if independent else interaction > 1e-3


@pytest.mark.parametrize(("event_shape", "levels"), [((2, 2), 3), ((2, 2, 3), 2)], ids=["3 levels", "three channels"])
def test_pixelcnn_plus_plus_with_coarser_levels_sums_to_1(event_shape, levels):
    model = make("PixelCNNPlusPlus", event_shape, levels=levels, num_downsamplings=1)
    sums_to_1(model.log_prob, event_shape, levels, 1e-5)


@pytest.mark.parametrize("num_components", [None, 0])  # A recipe has no None.
def test_pixelcnn_plus_plus_binary_data_without_a_mixture_are_bernoulli(num_components):
    model = make("PixelCNNPlusPlus", (4, 4), levels=2, num_components=num_components, num_downsamplings=2)
    assert type(model.distribution.family).__name__ == "Bernoulli"
    with pytest.raises(
        ValueError, match=r"2 channels are joined by a mixture.*Received: levels=2, num_components=None, params_size=1"
    ):
        make("PixelCNNPlusPlus", (4, 4, 2), levels=2, num_components=None)


@pytest.mark.slow
@pytest.mark.graph
def test_pixelcnn_plus_plus_learns_that_colours_are_equal():
    x = np.repeat(np.random.default_rng(0).integers(0, 256, (64, 2, 2, 1)), 3, axis=-1)
    model = tfdgm.models.PixelCNNPlusPlus((2, 2, 3), filters=6, num_downsamplings=1, num_components=2, dropout=0.0)
    model.use_xla = False
    before = model.log_prob(x).numpy().mean()
    model.compile("adam")
    model.optimizer.learning_rate = 0.01
    model.fit(x, batch_size=16, epochs=10, shuffle=False, verbose=0)
    after = model.log_prob(x).numpy()
    assert np.isfinite(after).all() and after.mean() > before + 10  # In nats.


@every_model
class TestCompletion:
    def test_known_pixels_are_kept_and_the_rest_follows_p_of_the_unknown(self, cls):
        model = make(cls, (2, 2), levels=3)
        n = 4000
        x, known = np.tile([[2, 0], [1, 1]], (n, 1, 1)), np.tile([[1, 1], [1, 0]], (n, 1, 1))
        drawn = model.complete(x, known, seed=3).numpy()
        np.testing.assert_array_equal(drawn[:, 0], x[:, 0])
        np.testing.assert_array_equal(drawn[:, 1, 0], x[:, 1, 0])
        joint = np.exp(model.log_prob(np.array([[[2, 0], [1, level]] for level in range(3)])))
        frequency = [np.mean(drawn[:, 1, 1] == level) for level in range(3)]
        np.testing.assert_allclose(frequency, joint / joint.sum(), atol=5 * 0.5 / np.sqrt(n))


@every_model
class TestBadInput:
    def test_image_of_another_size(self, cls):
        with pytest.raises(ValueError, match=r"`x` must end in event_shape=\(2, 2\). Received: x.shape=\(5, 2, 3\)"):
            make(cls).log_prob(np.zeros((5, 2, 3), int))

    def test_levels(self, cls):
        with pytest.raises(ValueError, match=r"integers 0..255. Received: values from 0 to 256"):
            make(cls, levels=256).log_prob(np.full((1, 2, 2), 256) * [[[0, 0], [0, 1]]])
        with pytest.raises(ValueError, match=r"integers 0..255. Received: 0.5"):
            make(cls, levels=256).log_prob(np.full((1, 2, 2), 0.5))

    def test_condition(self, cls):
        with pytest.raises(ValueError, match=r"needs a `condition` that ends in condition_shape=\(10,\). Received: None"):
            make(cls, condition_shape=(10,)).log_prob(np.zeros((1, 2, 2), int))

    def test_arguments(self, cls):
        with pytest.raises(TypeError, match="num_layer_s"):
            getattr(tfdgm.models, cls)((2, 2), num_layer_s=2)
        with pytest.raises(ValueError, match=r"\(height, width\) or .*Received: event_shape=\(4,\)"):
            getattr(tfdgm.models, cls)((4,))


@pytest.mark.slow
@every_model
def test_verify(cls):
    x, condition = np.random.default_rng(0).integers(0, 3, (8, 2, 4)), np.random.default_rng(1).normal(size=(8, 2))
    report = tfdgm.verify(make(cls, (2, 4), levels=3, condition_shape=(2,)), x, condition=condition, artifact=False)
    assert report.passed, str(report)
    assert not report["mask leaks"].skipped and not report["total mass"].skipped


@pytest.mark.slow
@pytest.mark.parametrize("cls", ["PixelSNAIL", "ImageTransformer"])
def test_verify_finds_attention_to_later_pixels(cls, monkeypatch):
    monkeypatch.setattr(tfdgm.layers.CausalAttention, "_is_before", lambda self, s, t: tf.ones_like(s - t) > 0)
    report = tfdgm.verify(make(cls, (2, 4), levels=3), artifact=False)
    assert not report.passed and not report["mask leaks"].passed
