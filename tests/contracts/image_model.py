import numpy as np
import pytest
from contracts.checks import sums_to_1
from contracts.mixture_heads import MixtureHeadsContract
from contracts.weights import randomize

import tfdgm


class ImageModelContract(MixtureHeadsContract):
    """Further tests of a model over images of integers; a subclass gives `cls` and `config`, which says neither event_shape nor
    levels: filters in multiples of 3, and an event_shape of any even sides."""

    config = {}
    #: Of the sum of the probabilities of all events, in float32.
    sum_tolerance = 1e-5

    @property
    def heads(self):
        return {"one channel": {"event_shape": (4, 4), **self.config}, "rgb": {"event_shape": (2, 2, 3), **self.config}}

    def make(self, event_shape=(2, 2), **changes):
        model = self.cls(event_shape, **{**self.config, **changes})
        model.use_xla = False
        return randomize(model, scale=0.7)

    @pytest.mark.parametrize(
        ("event_shape", "changes"),
        [
            ((2, 2), {"levels": 3}),
            ((2, 4), {"levels": 2}),
            ((2, 2), {"levels": 3, "num_components": 2}),
            ((2, 2, 3), {"levels": 2}),
        ],
        ids=["3 levels", "binary", "mixture", "three channels"],
    )
    def test_probabilities_sum_to_1_over_all_events(self, event_shape, changes):
        model = self.make(event_shape, **changes)
        sums_to_1(model.log_prob, event_shape, changes["levels"], self.sum_tolerance)

    @pytest.mark.slow
    def test_sample_follows_the_probabilities(self):
        # Every event's frequency among 20,000 samples within five standard errors of its probability.
        model = self.make(levels=3)
        sample = model.sample(20_000, seed=1).numpy().reshape(-1, 4)
        events = np.stack(np.meshgrid(*[range(3)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
        p = np.exp(model.log_prob(events.reshape(-1, 2, 2)))
        frequency = np.array([(sample == event).all(axis=1).mean() for event in events])
        assert (np.abs(frequency - p) <= 5 * np.sqrt(p * (1 - p) / len(sample)) + 1e-12).all()

    def test_completion_keeps_known_pixels_and_the_rest_follows_p_of_the_unknown(self):
        model, n = self.make(levels=3), 4000
        x, known = np.tile([[2, 0], [1, 1]], (n, 1, 1)), np.tile([[1, 1], [1, 0]], (n, 1, 1))
        drawn = model.complete(x, known, seed=3).numpy()
        np.testing.assert_array_equal(drawn[:, 0], x[:, 0])
        np.testing.assert_array_equal(drawn[:, 1, 0], x[:, 1, 0])
        joint = np.exp(model.log_prob(np.array([[[2, 0], [1, level]] for level in range(3)])))
        frequency = [np.mean(drawn[:, 1, 1] == level) for level in range(3)]
        np.testing.assert_allclose(frequency, joint / joint.sum(), atol=5 * 0.5 / np.sqrt(n))

    def test_image_of_another_size(self):
        with pytest.raises(ValueError, match=r"`x` must end in event_shape=\(2, 2\). Received: x.shape=\(5, 2, 3\)"):
            self.make().log_prob(np.zeros((5, 2, 3), int))

    def test_what_is_no_level(self):
        with pytest.raises(ValueError, match=r"integers 0..255. Received: values from 0 to 256"):
            self.make(levels=256).log_prob(np.full((1, 2, 2), 256) * [[[0, 0], [0, 1]]])
        with pytest.raises(ValueError, match=r"integers 0..255. Received: 0.5"):
            self.make(levels=256).log_prob(np.full((1, 2, 2), 0.5))

    def test_condition_that_is_missing(self):
        with pytest.raises(ValueError, match=r"needs a `condition` that ends in condition_shape=\(10,\). Received: None"):
            self.make(condition_shape=(10,)).log_prob(np.zeros((1, 2, 2), int))

    def test_arguments(self):
        with pytest.raises(TypeError, match="num_layer_s"):
            self.cls((2, 2), num_layer_s=2)
        with pytest.raises(ValueError, match=r"\(height, width\) or .*Received: event_shape=\(4,\)"):
            self.cls((4,))

    @pytest.mark.slow
    def test_verify(self):
        x, condition = np.random.default_rng(0).integers(0, 3, (8, 2, 4)), np.random.default_rng(1).normal(size=(8, 2))
        model = self.make((2, 4), levels=3, condition_shape=(2,))
        report = tfdgm.verify(model, x, condition=condition, artifact=False)
        assert report.passed, str(report)
        assert not report["mask leaks"].skipped and not report["total mass"].skipped
