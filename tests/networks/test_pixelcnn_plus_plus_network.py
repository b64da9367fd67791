import numpy as np
import pytest
import tensorflow as tf
from contracts import ImageNetworkContract

from tfdgm.networks import PixelCNNPlusPlus
from tfdgm.tasks import network_checks


class TestPixelCNNPlusPlus(ImageNetworkContract):
    cls = PixelCNNPlusPlus
    base = {"event_shape": (4, 4), "filters": 4, "num_resnets": 1, "num_downsamplings": 1}
    configs = {
        "plain": {},
        "two downsamplings": {"event_shape": (8, 4), "num_downsamplings": 2},
        "two resnets, none": {"num_resnets": 2, "num_downsamplings": 0},
        "condition": {"condition_shape": (3,)},
        "condition of two axes": {"condition_shape": (2, 2), "event_shape": (2, 4)},
        "one channel": {"event_shape": (2, 4, 1)},
        "three channels": {"event_shape": (2, 4, 3), "levels": 8, "params_size": 6},
        "two channels, condition": {"event_shape": (4, 2, 2), "levels": 2, "params_size": 3, "condition_shape": (3,)},
        "one pixel": {"event_shape": (1, 1), "num_downsamplings": 0, "condition_shape": (2,)},
    }
    generated_configs = ("condition", "three channels", "two downsamplings")

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            (
                {"event_shape": (4, 6), "num_downsamplings": 2},
                r"multiples of 2\^num_downsamplings=4. Received: event_shape=\(4, 6",
            ),
            ({"num_resnets": 0}, r"1 or more `filters` and `num_resnets`.*Received: filters=4, num_resnets=0"),
            ({"event_shape": (2, 2, 3)}, r"3 channels are joined by a mixture.*Received: levels=None, params_size=2"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
