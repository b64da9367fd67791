import numpy as np
import pytest
from contracts.checks import sums_to_1
from contracts.conditional_model import ConditionalModelContract
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import CONDITION, LARGER_BINARY

from tfdgm.models import MultiscalePixelCNN

SMALL = {"num_scales": 1, "num_layers": 1, "base_layers": 1}


class TestUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "multiscale_pixelcnn"
    cls = MultiscalePixelCNN
    config = {**SMALL, "event_shape": (4, 4), "filters": 8, "head_filters": 8, "condition_shape": (2,)}
    x, condition = LARGER_BINARY, CONDITION


class TestImages(ImageModelContract):
    cls = MultiscalePixelCNN
    config = {**SMALL, "filters": 12, "head_filters": 12}

    def test_probabilities_over_two_doublings_sum_to_1(self):
        model = self.make((4, 4), num_scales=2)
        sums_to_1(model.log_prob, (4, 4), 2, 1e-5)

    @pytest.mark.parametrize(("pair", "independent"), [([(1, 1), (1, 3)], True), ([(1, 0), (1, 1)], False)])
    def test_pixels_of_one_group_are_independent(self, pair, independent):
        # The assumption of the model, and of none of its neighbours: log p(a, b) splits into a sum given all other pixels.
        model = self.make((2, 4), levels=3, dtype="float64")
        x = np.repeat(np.random.default_rng(0).integers(0, 3, (1, 2, 4)), 4, axis=0)
        for i, value in zip((0, 1), ([0, 0, 2, 2], [0, 2, 0, 2]), strict=True):
            x[:, pair[i][0], pair[i][1]] = value
        log_p = model.log_prob(x).numpy()
        interaction = abs(log_p[0] + log_p[3] - log_p[1] - log_p[2])
        assert interaction < 1e-12 if independent else interaction > 1e-3
