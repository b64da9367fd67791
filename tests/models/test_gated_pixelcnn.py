from contracts.conditional_model import ConditionalModelContract
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import CONDITION, THREE_LEVELS

from tfdgm.models import GatedPixelCNN

SMALL = {"num_layers": 1, "first_kernel_size": 3}


class TestUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "gated_pixelcnn"
    cls = GatedPixelCNN
    config = {**SMALL, "event_shape": (2, 2), "filters": 8, "head_filters": 8, "levels": 3, "condition_shape": (2,)}
    x, condition = THREE_LEVELS, CONDITION


class TestImages(ImageModelContract):
    cls = GatedPixelCNN
    config = {**SMALL, "filters": 12, "head_filters": 12}
