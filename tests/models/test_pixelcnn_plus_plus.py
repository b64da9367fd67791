import numpy as np
import pytest
from contracts.checks import sums_to_1
from contracts.conditional_model import ConditionalModelContract
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import COLOURS_OF_TWO_ROWS, CONDITION, THREE_LEVELS

from tfdgm.models import PixelCNNPlusPlus


class TestUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "pixelcnn_plus_plus_of_one_level"
    cls = PixelCNNPlusPlus
    config = {
        **{"event_shape": (2, 2), "levels": 3, "num_components": 2, "condition_shape": (2,)},
        **{"filters": 4, "num_downsamplings": 0, "dropout": 0.0},
    }
    x, condition = THREE_LEVELS, CONDITION


@pytest.mark.slow
class TestColoursUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "pixelcnn_plus_plus"
    cls = PixelCNNPlusPlus
    config = {
        **{"event_shape": (2, 2, 3), "levels": 8, "num_components": 2, "condition_shape": (2,)},
        **{"filters": 4, "num_downsamplings": 1, "dropout": 0.0},
    }
    x, condition = COLOURS_OF_TWO_ROWS, CONDITION


class TestImages(ImageModelContract):
    cls = PixelCNNPlusPlus
    config = {"filters": 6, "num_downsamplings": 0}

    @pytest.mark.parametrize(("event_shape", "levels"), [((2, 2), 3), ((2, 2, 3), 2)], ids=["3 levels", "three channels"])
    def test_with_coarser_levels_sums_to_1(self, event_shape, levels):
        model = self.make(event_shape, levels=levels, num_downsamplings=1)
        sums_to_1(model.log_prob, event_shape, levels, 1e-5)

    @pytest.mark.parametrize("num_components", [None, 0])  # A recipe has no None.
    def test_binary_data_without_a_mixture_are_bernoulli(self, num_components):
        model = self.make((4, 4), levels=2, num_components=num_components, num_downsamplings=2)
        assert type(model.distribution.family).__name__ == "Bernoulli"
        with pytest.raises(ValueError, match=r"2 channels are joined.*Received: levels=2, num_components=None, params_size=1"):
            self.make((4, 4, 2), levels=2, num_components=None)

    @pytest.mark.slow
    @pytest.mark.graph
    def test_learns_that_colours_are_equal(self):
        x = np.repeat(np.random.default_rng(0).integers(0, 256, (64, 2, 2, 1)), 3, axis=-1)
        model = PixelCNNPlusPlus((2, 2, 3), filters=6, num_downsamplings=1, num_components=2, dropout=0.0)
        model.use_xla = False
        before = model.log_prob(x).numpy().mean()
        model.compile("adam")
        model.optimizer.learning_rate = 0.01
        model.fit(x, batch_size=16, epochs=10, shuffle=False, verbose=0)
        after = model.log_prob(x).numpy()
        assert np.isfinite(after).all() and after.mean() > before + 10  # In nats.
