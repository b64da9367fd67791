import pytest
import tensorflow as tf
from contracts.image_model import ImageModelContract
from contracts.integer_model import IntegerModelContract
from contracts.rows import COLOURS

import tfdgm
from tfdgm.models import ImageTransformer

SMALL = {"num_layers": 1, "num_heads": 2}


class TestMixtureOfColours(IntegerModelContract):
    name = "image_transformer_rgb"
    cls = ImageTransformer
    config = {**SMALL, "event_shape": (1, 2, 3), "hidden_size": 8, "feed_forward_size": 8, "levels": 8, "num_components": 2}
    x = COLOURS


class TestImages(ImageModelContract):
    cls = ImageTransformer
    config = {**SMALL, "hidden_size": 12, "feed_forward_size": 12}

    @pytest.mark.slow
    def test_verify_finds_attention_to_later_pixels(self, monkeypatch):
        monkeypatch.setattr(tfdgm.layers.CausalAttention, "_is_before", lambda self, s, t: tf.ones_like(s - t) > 0)
        report = tfdgm.verify(self.make((2, 4), levels=3), artifact=False)
        assert not report.passed and not report["mask leaks"].passed
