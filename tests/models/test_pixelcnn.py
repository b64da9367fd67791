import pytest
from contracts.conditional_model import ConditionalModelContract
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import BINARY, COLOURS, CONDITION

from tfdgm.models import PixelCNN

SMALL = {"num_layers": 1, "first_kernel_size": 3}
TINY = {**SMALL, "event_shape": (2, 2), "filters": 8, "head_filters": 8}


class TestUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "pixelcnn_condition"
    cls = PixelCNN
    config = {**TINY, "activation": "tanh", "condition_shape": (2,)}
    x, condition = BINARY, CONDITION


@pytest.mark.slow
class TestBinary(IntegerModelContract):
    name = "pixelcnn_binary"
    cls = PixelCNN
    config = {**TINY, "activation": "tanh"}
    x = BINARY


@pytest.mark.slow
class TestMixtureOfColours(IntegerModelContract):
    name = "pixelcnn_mixture_rgb"
    cls = PixelCNN
    config = {
        **SMALL,
        **{"event_shape": (1, 2, 3), "filters": 12, "head_filters": 12},
        **{"levels": 8, "num_components": 2, "activation": "tanh"},
    }
    x = COLOURS


class TestImages(ImageModelContract):
    cls = PixelCNN
    config = {**SMALL, "filters": 12, "head_filters": 12}
