import numpy as np
import pytest
import tensorflow as tf
from contracts.network import NetworkContract, generated

from tfdgm.networks import MultiscalePixelCNN
from tfdgm.networks.multiscale_pixelcnn import _GroupNetwork


class TestMultiscalePixelCNN(NetworkContract):
    cls = MultiscalePixelCNN
    # Of reach at least the image's width and height, so that every pixel sees all groups before it.
    base = {"event_shape": (4, 4), "num_scales": 1, "filters": 12, "num_layers": 1, "base_layers": 1, "head_filters": 24}
    configs = {
        "plain": {},
        "down to one pixel": {"num_scales": 2},
        "condition": {"event_shape": (2, 4), "condition_shape": (3,)},
        "condition of two axes": {"event_shape": (4, 2), "condition_shape": (2, 2)},
        "one channel": {"event_shape": (4, 2, 1)},
        # Wide, so that not all of a colour's units are dead.
        "three channels": {"event_shape": (2, 4, 3), "filters": 36, "head_filters": 36},
        "three channels, condition": {"event_shape": (2, 2, 3), "filters": 36, "condition_shape": (3,)},
    }
    generated_configs = ("condition", "three channels")

    def connected(self, network):
        """All groups before, and in the pixel itself the colours before; in the first image, all before in raster order."""
        height, width, channels = (*network.event_shape, 1)[:3]
        rows, columns, colours = np.indices((height, width, channels)).reshape(3, -1)
        # Straight from the definition: a pixel comes with the largest spacing 2^s that divides its row and its column.
        most = 2**network.num_scales
        spacing = np.gcd(np.gcd(rows, columns), most)
        in_first = spacing == most
        group = np.where(in_first, 0, 3 * np.log2(most / 2 / spacing) + 2 * (rows // spacing % 2) + columns // spacing % 2)
        pixel = rows * width + columns

        def before(position):
            return position[:, None] < position[None, :]

        same_pixel = pixel[:, None] == pixel[None, :]
        in_first_image = in_first[:, None] & in_first[None, :] & before(pixel)
        return before(group) | in_first_image | (same_pixel & before(colours))

    def test_order(self):
        # Figure 2 of the paper, in each doubling: upper left, upper right, lower left, lower right.
        when = np.argsort(self.make("down to one pixel").order).reshape(4, 4)
        np.testing.assert_array_equal(when, [[0, 4, 1, 5], [8, 12, 9, 13], [2, 6, 3, 7], [10, 14, 11, 15]])
        # Within a group, colour after colour.
        when = np.argsort(self.make("three channels").order).reshape(2, 4, 3)
        np.testing.assert_array_equal(when[0, 0::2], [[0, 1, 2], [3, 4, 5]])
        np.testing.assert_array_equal(when[1, 1::2], [[18, 20, 22], [19, 21, 23]])

    @pytest.mark.slow
    @pytest.mark.parametrize("channels", [1, 3])
    def test_network_calls_grow_with_the_logarithm_of_the_pixels(self, channels, monkeypatch):
        calls = []
        features = _GroupNetwork.features

        def counted(*args, **kwargs):
            calls.append(1)
            return features(*args, **kwargs)

        monkeypatch.setattr(_GroupNetwork, "features", counted)
        counts = []
        for num_scales in (1, 2, 3, 4):
            size = 2**num_scales
            config = {"num_scales": num_scales, "filters": 3, "head_filters": 3}
            network = self.make(event_shape=(size, size, channels), **config)
            tf.config.run_functions_eagerly(True)  # Each call is then one evaluation.
            try:
                generated(network, by_steps=False, jit_compile=False)
            finally:
                tf.config.run_functions_eagerly(False)
            counts.append(len(calls))
            calls.clear()
        # 4, 16, 64, 256 pixels.
        assert counts == [3, 6, 9, 12]

    def test_a_group_is_emitted_at_once(self):
        network = self.make("three channels, condition", event_shape=(4, 4, 3), num_scales=2)
        seen = []

        def emit(position, params, u):
            seen.append((tf.broadcast_to(position, u.shape).numpy(), params.shape[0], u.shape))
            return u, []

        u = tf.constant(np.random.default_rng(0).normal(size=(2, *network.event_shape)))
        back, _ = network.generate(emit, u, self.condition_of(network, 2))
        np.testing.assert_array_equal(back, u)
        assert [len(position) for position, _, _ in seen] == [2] * 3 + [2 * 1] * 9 + [2 * 4] * 9
        # Row after row of the batch.
        positions = np.concatenate([position.reshape(2, -1)[1] for position, _, _ in seen])
        np.testing.assert_array_equal(positions, network.order)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"event_shape": (4,)}, r"\(height, width\) or \(height, width, channels\), .* Received: event_shape=\(4,\)"),
            ({"event_shape": (4, 6), "num_scales": 2}, r"multiples of 2\^num_scales = 4. Received: event_shape=\(4, 6\)"),
            ({"num_scales": 0}, r"`num_scales` must be an integer, 1 or more. Received: num_scales=0"),
            ({"event_shape": (2, 2, 3), "filters": 8}, r"multiple of the 3 channels. Received: filters=8"),
            ({"kernel_size": 2}, r"`kernel_size` must be odd, and 3 or more. Received: kernel_size=2"),
            ({"base_layers": 0}, r"`num_layers` must be an integer, 1 or more. Received: num_layers=0"),
        ],
    )
    def test_bad_arguments(self, config, message):
        with pytest.raises(ValueError, match=message):
            self.make(**config)
