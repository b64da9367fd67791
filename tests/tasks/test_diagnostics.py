import math

import numpy as np
import pytest
from contracts.cases import CASES, model_cases
from contracts.weights import randomize

import tfdgm
from tfdgm.tasks import bits_per_dim_map, network_checks, receptive_field

pytestmark = pytest.mark.usefixtures("eagerly")

PIXELCNN = {"filters": 8, "num_layers": 2, "head_filters": 8}


def before(position, event_shape):
    """All positions before one in raster order."""
    end = np.ravel_multi_index(position, event_shape)
    return {tuple(int(i) for i in np.unravel_index(t, event_shape)) for t in range(end)}


def through_layers(position, size, layers):
    """What one pixel sees through masked convolutions, the last one first: a walk along the taps that lie inside the image."""
    seen = {position}
    for kernel, has_centre in layers:
        half = kernel // 2
        taps = [(-a, e) for a in range(1, half + 1) for e in range(-half, half + 1)] + [(0, -e) for e in range(1, half + 1)]
        taps += [(0, 0)] if has_centre else []
        seen = {(i + a, j + e) for i, j in seen for a, e in taps}
        seen = {(i, j) for i, j in seen if 0 <= i < size and 0 <= j < size}
    return seen


class TestReceptiveField:
    @pytest.mark.parametrize("position", [(0, 0), (0, 3), (2, 1), (4, 4)])
    def test_made_sees_exactly_all_earlier_positions(self, position):
        model = randomize(tfdgm.models.MADE((5, 5), levels=3, hidden_units=(100, 100)))
        assert receptive_field(model, position) == before(position, (5, 5))

    def test_made_in_another_order(self):
        order = [3, 1, 4, 0, 2]
        model = randomize(tfdgm.models.MADE((5,), hidden_units=(40,), input_order=order))
        assert receptive_field(model, 0) == {(3,), (1,), (4,)}

    @pytest.mark.parametrize("position", [(0, 0), (6, 2), (9, 10), (12, 12)])
    def test_pixelcnn_sees_what_its_layers_imply(self, position):
        model = randomize(tfdgm.models.PixelCNN((13, 13), first_kernel_size=5, **PIXELCNN))
        expected = through_layers(position, 13, [(3, True), (3, True), (5, False)])
        assert receptive_field(model, position) == expected

    def test_pixelcnns_blind_spot(self):
        model = randomize(tfdgm.models.PixelCNN((13, 13), first_kernel_size=5, **PIXELCNN))
        seen = receptive_field(model, (9, 9))
        assert (8, 11) in seen and (8, 12) not in seen and (7, 12) in seen

    def test_gated_pixelcnn_has_no_blind_spot(self):
        model = randomize(tfdgm.models.GatedPixelCNN((9, 9), first_kernel_size=5, **PIXELCNN))
        expected = {(i, j) for i, j in before((5, 4), (9, 9)) if i >= 2 and 1 <= j <= 7}
        assert receptive_field(model, (5, 4)) == expected

    @model_cases("pixelcnn_mixture_rgb", "pixelcnn_condition", "made_categorical")
    def test_agrees_with_perturbation(self, case):
        model = case.make(seed=2)
        condition = None if case.condition is None else case.condition[:1]
        moved = network_checks.connections(model.distribution.network, condition, rows=8)
        shape = model.event_shape
        for t in range(math.prod(shape)):
            expected = {tuple(map(int, np.unravel_index(i, shape))) for i in np.flatnonzero(moved[:, t])}
            given = None if condition is None else condition[0]
            assert receptive_field(model, np.unravel_index(t, shape), condition=given) == expected

    @pytest.mark.parametrize("position", [5, (1, 2, 3), (2, 0), (-1, 0), (0.5, 1)])
    def test_no_position(self, position):
        with pytest.raises(ValueError, match=r"`position` must be an index into event_shape=\(2, 2\)\. Received"):
            receptive_field(CASES["made_binary"].make(), position)

    def test_a_flow(self):
        with pytest.raises(ValueError, match=r"Expected an autoregressive model .* Received: MAF, whose distribution is Flow"):
            receptive_field(CASES["maf"].make(), 0)


class TestBitsPerDimMap:
    @model_cases("made_binary_condition", "made_categorical", "gated_pixelcnn", "pixelcnn_mixture_rgb")
    def test_adds_up_to_log_prob(self, case):
        model = case.make(seed=2)
        x = case.x.reshape(2, -1, *model.event_shape)
        condition = None if case.condition is None else case.condition.reshape(2, -1, 2)
        bits = bits_per_dim_map(model, x, condition)
        assert isinstance(bits, np.ndarray) and bits.shape == x.shape and (bits >= 0).all()
        axes = tuple(range(2, x.ndim))
        np.testing.assert_allclose(bits.sum(axis=axes), -np.asarray(model.log_prob(x, condition)) / math.log(2), rtol=1e-5)
        np.testing.assert_allclose(bits.mean(axis=axes), model.bits_per_dim(x, condition), rtol=1e-5)

    def test_each_position_is_its_conditional(self):
        """p(x_t | x_<t) by sums of p over all that may follow."""
        case = CASES["made_categorical"]
        model = case.make(seed=2)
        x = np.array([3, 0, 2])
        events = np.stack(np.meshgrid(*[range(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        p = np.exp(np.asarray(model.log_prob(events), np.float64))
        agreeing = [p[(events[:, :t] == x[:t]).all(axis=1)].sum() for t in range(4)]
        np.testing.assert_allclose(bits_per_dim_map(model, x), -np.diff(np.log2(agreeing)), rtol=1e-4)

    def test_a_flow(self):
        with pytest.raises(ValueError, match=r"Expected an autoregressive model .* Received: MAF, whose distribution is Flow"):
            bits_per_dim_map(CASES["maf"].make(), CASES["maf"].x)

    def test_bad_x(self):
        with pytest.raises(ValueError, match=r"`x` must end in event_shape=\(2, 2\)"):
            bits_per_dim_map(CASES["made_binary"].make(), np.zeros((3, 2)))
