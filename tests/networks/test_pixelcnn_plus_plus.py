import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract

from tfdgm.layers import VerticalConv2D
from tfdgm.networks import PixelCNNPlusPlus
from tfdgm.tasks import network_checks


class TestPixelCNNPlusPlus(NetworkContract):
    cls = PixelCNNPlusPlus
    base = {"event_shape": (4, 4), "filters": 4, "num_resnets": 1, "num_downsamplings": 1}
    configs = {
        "plain": {},
        "two downsamplings": {"event_shape": (8, 4), "num_downsamplings": 2},
        "two resnets, none": {"num_resnets": 2, "num_downsamplings": 0},
        "condition": {"condition_shape": (3,)},
        "one channel": {"event_shape": (2, 4, 1)},
        "three channels": {"event_shape": (2, 4, 3), "levels": 8, "num_components": 2, "params_size": 6},
        "two channels, condition": {
            "event_shape": (4, 2, 2),
            "levels": 2,
            "num_components": 1,
            "params_size": 3,
            "condition_shape": (3,),
        },
        "one pixel": {"event_shape": (1, 1), "num_downsamplings": 0, "condition_shape": (2,)},
    }
    generated_configs = ("condition", "three channels")

    def test_the_check_does_see_a_leak(self):
        # A first layer of stream u that is not shifted down sees its own row.
        leaky = self.make()
        leaky.first_above = VerticalConv2D(2, 4, 3, dtype="float64")
        assert not network_checks.mask_leaks("leak", leaky).passed

    def test_state_holds_rows_only(self):
        def sizes(height):
            return [t.shape for t in tf.nest.flatten(self.make(event_shape=(height, 4)).initial_state(3))]

        assert sizes(4) == sizes(40)

    def test_parameters_of_the_paper_s_network_for_cifar_10(self):
        f, k, resnets = 160, 10, 5
        up, down = 3 * resnets, 3 * resnets + 2  # Blocks of a stream, on the ways to coarser levels and back.

        def authors(taps, inputs, outputs):
            return taps * inputs * outputs + 2 * outputs  # Weight normalization: a kernel, its lengths g, and b.

        def block(taps, nin):
            return authors(taps, 2 * f, f) + authors(taps, 2 * f, 2 * f) + (authors(1, nin * f, f) if nin else 0)

        theirs = authors(6, 4, f) + authors(3, 4, f) + authors(2, 4, f)  # u: 2 x 3; ul: 1 x 3 and 2 x 1; a channel of ones.
        theirs += up * (block(6, 0) + block(4, 2)) + down * (block(6, 2) + block(4, 4))
        theirs += 2 * 2 * (authors(6, f, f) + authors(4, f, f)) + authors(1, f, 10 * k)
        network = PixelCNNPlusPlus((32, 32, 3), levels=256, num_components=k, params_size=3 * k, filters=f, num_resnets=resnets)
        ours = sum(np.prod(weight.shape) for weight in network.trainable_weights)
        lengths = 3 * f + up * 7 * f + down * 8 * f + 8 * f + 10 * k
        second_biases, first_layer = (up + 2 * down) * f, f + 4 * f
        assert (theirs, ours) == (53_659_080, 53_610_020)
        assert theirs - ours == lengths + second_biases + first_layer

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (6,)}, r"\(height, width\) or \(height, width, channels\). Received: event_shape=\(6,\)"),
            (
                {"event_shape": (4, 6), "num_downsamplings": 2},
                r"multiples of 2\^num_downsamplings=4. Received: event_shape=\(4, 6",
            ),
            ({"num_resnets": 0}, r"1 or more `filters` and `num_resnets`.*Received: filters=4, num_resnets=0"),
            (
                {"event_shape": (2, 2, 3)},
                r"3 channels are joined by a mixture.*Received: levels=None, num_components=None, params_size=2",
            ),
            # One parameter a level, and not a component.
            (
                {"event_shape": (2, 2, 3), "levels": 3, "params_size": 3},
                r"Received: levels=3, num_components=None, params_size=3",
            ),
            (
                {"event_shape": (2, 2, 3), "levels": 8, "num_components": 2, "params_size": 3},
                r"Received: levels=8, num_components=2, params_size=3",
            ),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
