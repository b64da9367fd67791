import pytest
from contracts.conditional_model import ConditionalModelContract
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import BINARY, CONDITION, THREE_LEVELS

from tfdgm.models import PixelRNN

SMALL = {"num_layers": 1, "first_kernel_size": 3}
TINY = {**SMALL, "event_shape": (2, 2), "filters": 8, "head_filters": 8}


class TestDiagonal(ConditionalModelContract, IntegerModelContract):
    name = "pixelrnn_diagonal"
    cls = PixelRNN
    config = {**TINY, "levels": 3, "condition_shape": (2,)}
    x, condition = THREE_LEVELS, CONDITION


@pytest.mark.slow
class TestRow(IntegerModelContract):
    name = "pixelrnn_row"
    cls = PixelRNN
    config = {**TINY, "kind": "row"}
    x = BINARY


class TestImages(ImageModelContract):
    cls = PixelRNN
    config = {**SMALL, "filters": 12, "head_filters": 12}
