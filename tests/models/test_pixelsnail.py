import pytest
import tensorflow as tf
from contracts.conditional_model import ConditionalModelContract
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import CONDITION, THREE_LEVELS

import tfdgm
from tfdgm.models import PixelSNAIL

SMALL = {"num_blocks": 1, "num_layers": 1, "key_size": 4}


class TestUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "pixelsnail"
    cls = PixelSNAIL
    config = {**SMALL, "event_shape": (2, 2), "filters": 8, "levels": 3, "condition_shape": (2,)}
    x, condition = THREE_LEVELS, CONDITION


class TestImages(ImageModelContract):
    cls = PixelSNAIL
    config = {**SMALL, "filters": 12}

    @pytest.mark.slow
    def test_verify_finds_attention_to_later_pixels(self, monkeypatch):
        monkeypatch.setattr(tfdgm.layers.CausalAttention, "_is_before", lambda self, s, t: tf.ones_like(s - t) > 0)
        report = tfdgm.verify(self.make((2, 4), levels=3), artifact=False)
        assert not report.passed and not report["mask leaks"].passed
