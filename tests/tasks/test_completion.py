import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from contracts.cases import CASES, model_cases
from contracts.weights import randomize

import tfdgm
from tfdgm.distributions import candidates, noise

pytestmark = pytest.mark.usefixtures("eagerly")

PIXELCNN = {"filters": 8, "num_layers": 1, "first_kernel_size": 3, "head_filters": 8}
EVENTS = np.array(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2)
FIRST, LAST = np.array([[1, 1], [0, 0]]), np.array([[0, 0], [1, 1]])
X = np.array([[2, 0], [1, 2]])


@pytest.fixture(scope="module")
def pixelcnn():
    return made(tfdgm.models.PixelCNN, **PIXELCNN)


def made(cls, **config):
    """An image of 2x2, 3 levels: all 81 events can be counted."""
    model = cls((2, 2), levels=3, **config)
    model.use_xla = False
    return randomize(model, seed=3, scale=1.5)


def exact(model, known):
    """The events that agree with X where known, and their probabilities given that, by enumeration."""
    agreeing = EVENTS[(EVENTS == X)[:, known == 1].all(axis=1)]
    p = np.exp(np.asarray(model.log_prob(agreeing), np.float64))
    return agreeing, p / p.sum()


def pvalue(drawn, events, p):
    counts = (np.asarray(drawn)[:, None] == events).all(axis=(2, 3)).sum(axis=0)
    assert counts.sum() == len(drawn)  # What is known was kept.
    return scipy.stats.chisquare(counts, p * len(drawn)).pvalue


def repeated(n):
    return np.repeat(X[None], n, axis=0)


class TestKnownFirst:
    @pytest.mark.parametrize(
        ("cls", "config"),
        [
            ("PixelCNN", PIXELCNN),
            ("GatedPixelCNN", PIXELCNN),
            ("MultiscalePixelCNN", {"num_scales": 1, "filters": 8, "num_layers": 1, "base_layers": 1}),
            ("MADE", {"hidden_units": (16,)}),
        ],
    )
    def test_follows_the_exact_conditional(self, cls, config):
        model = made(getattr(tfdgm.models, cls), **config)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = model.complete(repeated(4000), FIRST, seed=1)
        assert pvalue(drawn, *exact(model, FIRST)) > 1e-3

    def test_first_in_the_networks_order(self):
        # Backwards, the lower row comes first, and it is the upper one that comes last.
        model = made(tfdgm.models.MADE, hidden_units=(16,), input_order="right-to-left")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = model.complete(repeated(4000), LAST, seed=1)
        assert pvalue(drawn, *exact(model, LAST)) > 1e-3
        with pytest.warns(UserWarning, match="come after unknown ones"):
            model.complete(X, FIRST, seed=1)


class TestKnownLast:
    def test_a_single_draw_warns_once_and_is_another_distribution(self, pixelcnn):
        with pytest.warns(UserWarning, match=r"In 3999 of 4000 rows, known positions come after unknown ones") as caught:
            known = np.repeat(LAST[None], 4000, axis=0)
            known[0] = FIRST
            drawn = pixelcnn.complete(repeated(4000), known, seed=1)
        assert len(caught) == 1 and caught[0].filename == __file__
        assert pvalue(drawn[1:], *exact(pixelcnn, LAST)) < 1e-6

    @pytest.mark.slow
    @pytest.mark.graph  # 400,000 candidates.
    @pytest.mark.parametrize("known", [LAST, np.array([[0, 1], [1, 0]])], ids=["last", "between"])
    def test_candidates_follow_the_exact_conditional(self, pixelcnn, known):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = pixelcnn.complete(repeated(2000), known, seed=1, num_candidates=200)
        assert pvalue(drawn, *exact(pixelcnn, known)) > 1e-3

    def test_more_candidates_are_nearer(self, pixelcnn):
        events, p = exact(pixelcnn, LAST)
        distances = []
        for k in (1, 2, 16):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                drawn = np.asarray(pixelcnn.complete(repeated(4000), LAST, seed=1, num_candidates=k))
            frequency = (drawn[:, None] == events).all(axis=(2, 3)).mean(axis=0)
            distances.append(np.abs(frequency - p).sum() / 2)
        assert distances[0] > 1.3 * distances[1] and distances[1] > 2 * distances[2], distances

    def test_one_that_outweighs_all_is_said(self, pixelcnn):
        with pytest.warns(UserWarning, match=r"of 50 rows, one of the 2 candidates outweighs all others"):
            pixelcnn.complete(repeated(50), LAST, seed=1, num_candidates=2)

    def test_candidates_leave_exact_draws_exact(self, pixelcnn):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = pixelcnn.complete(repeated(2000), FIRST, seed=1, num_candidates=2)
        assert pvalue(drawn, *exact(pixelcnn, FIRST)) > 1e-3


class TestSeeds:
    def test_nothing_known_is_the_sample(self, pixelcnn):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(pixelcnn.complete(repeated(20), np.zeros((2, 2)), seed=4), pixelcnn.sample(20, seed=4))

    @pytest.mark.parametrize("num_candidates", [None, 3])
    def test_a_row_depends_on_its_seed_alone(self, pixelcnn, num_candidates):
        given = {"num_candidates": num_candidates}
        many = pixelcnn.complete(repeated(40), FIRST, seed=4, **given)
        np.testing.assert_array_equal(pixelcnn.complete(repeated(3), FIRST, seed=4, **given), many[:3])
        assert (many.numpy() != pixelcnn.complete(repeated(40), FIRST, seed=5, **given).numpy()).any()

    def test_without_a_seed_each_call_differs(self, pixelcnn):
        drawn = [pixelcnn.complete(repeated(40), FIRST).numpy() for _ in range(2)]
        assert (drawn[0] != drawn[1]).any()

    def test_candidates_seeds_are_distinct(self):
        seeds = tf.constant([[1, i] for i in range(50)], tf.int32)
        pairs = noise.derived_seeds(seeds, 20).numpy()
        assert pairs.shape == (50, 20, 2) and (pairs[:, 0] == seeds.numpy()).all()
        assert len(np.unique(pairs.reshape(-1, 2), axis=0)) == 1000

    def test_compiled_by_xla_or_not(self, pixelcnn):
        compiled = made(tfdgm.models.PixelCNN, **PIXELCNN)
        compiled.use_xla = True
        for given in ({}, {"num_candidates": 3}):
            np.testing.assert_array_equal(
                compiled.complete(repeated(20), FIRST, 4, **given), pixelcnn.complete(repeated(20), FIRST, 4, **given)
            )

    def test_what_the_saved_model_draws(self, pixelcnn, tmp_path):
        pixelcnn.export(tmp_path / "1")
        complete = tf.saved_model.load(str(tmp_path / "1")).signatures["complete"]
        x, known = (tf.constant(value, tf.int32) for value in (repeated(20), np.repeat(FIRST[None], 20, axis=0)))
        served = complete(x=x, known=known, seed=tf.constant([[4, i] for i in range(20)], tf.int32))["x"]
        np.testing.assert_array_equal(pixelcnn.complete(repeated(20), FIRST, seed=4), served)

    def test_more_rows_than_one_chunk(self, pixelcnn):
        drawn = pixelcnn.complete(repeated(5000), FIRST, seed=4)
        np.testing.assert_array_equal(drawn[:10], pixelcnn.complete(repeated(10), FIRST, seed=4))
        assert (np.asarray(drawn)[:, 0] == X[0]).all()


class TestChoose:
    def test_by_weight(self):
        weights = np.array([0.1, 0.6, 0.0, 0.3])
        n = 4000
        with np.errstate(divide="ignore"):
            log_weights = tf.constant(np.repeat(np.log(weights)[None], n, axis=0) - 500)
        chosen, effective = candidates.choose(log_weights, tf.constant([[1, i] for i in range(n)], tf.int32))
        counts = np.bincount(chosen.numpy(), minlength=4)
        assert counts[2] == 0 and scipy.stats.chisquare(counts[[0, 1, 3]], n * weights[[0, 1, 3]]).pvalue > 1e-3
        np.testing.assert_allclose(effective, 1 / np.sum(weights**2))

    def test_where_all_are_impossible(self):
        log_weights = tf.constant([[-np.inf, -np.inf], [-np.inf, 0.0]])
        chosen, effective = candidates.choose(log_weights, tf.constant([[1, 0], [1, 1]], tf.int32))
        assert chosen[0] in (0, 1) and chosen[1] == 1 and effective.numpy().tolist() == [0, 1]


class TestEveryAutoregressiveModel:
    @model_cases("made_binary", "made_binary_condition", "made_categorical", "gated_pixelcnn", "pixelcnn_mixture_rgb")
    def test_keeps_the_known_and_takes_a_condition(self, case):
        model = case.make(seed=2)
        known = np.arange(math.prod(model.event_shape)).reshape(model.event_shape) < 1
        x = case.x.reshape(2, -1, *model.event_shape)
        condition = None if case.condition is None else case.condition.reshape(2, -1, 2)
        drawn = model.complete(x, known, 1, condition=condition, num_candidates=2).numpy()
        assert drawn.shape == x.shape and drawn.dtype == np.int32
        assert (drawn[..., known] == x[..., known]).all() and (drawn != x).any()
        assert drawn.min() >= 0 and drawn.max() < model.levels

    def test_positions_add_up_to_log_prob(self, pixelcnn):
        positions = pixelcnn.distribution.log_prob_of_positions(tf.constant(EVENTS))
        np.testing.assert_allclose(tf.reduce_sum(positions, axis=(1, 2)), pixelcnn.log_prob(EVENTS), rtol=1e-5)

    def test_real_values(self):
        model = tfdgm.models.MADE((3,), levels=None, num_components=2, hidden_units=(8,), standardize=False)
        model.use_xla = False
        drawn = model.complete([[0.5, -1.0, 2.0]] * 4, [1, 0, 0], seed=1).numpy()
        assert drawn.dtype == np.float32 and (drawn[:, 0] == 0.5).all() and len(np.unique(drawn[:, 2])) == 4

    def test_no_rows(self, pixelcnn):
        for k in (None, 3):
            drawn = pixelcnn.complete(np.zeros((0, 2, 2), int), FIRST, num_candidates=k)
            assert drawn.shape == (0, 2, 2) and drawn.dtype == tf.int32


class TestBadInput:
    def test_x(self, pixelcnn):
        with pytest.raises(ValueError, match=r"`x` must end in event_shape=\(2, 2\). Received: x.shape=\(5, 2, 3\)"):
            pixelcnn.complete(np.zeros((5, 2, 3), int), FIRST)
        with pytest.raises(ValueError, match=r"integers 0..2. Received: values from 0 to 3"):
            pixelcnn.complete([[0, 1], [2, 3]], FIRST)

    @pytest.mark.parametrize("shape", [(2,), (1, 2, 2), (4, 2, 2), (2, 3)])
    def test_shape_of_known(self, pixelcnn, shape):
        with pytest.raises(ValueError, match=r"`known` must have the shape of `x`, \(5, 2, 2\), or event_shape=\(2, 2\)\. Rec"):
            pixelcnn.complete(repeated(5), np.ones(shape))

    @pytest.mark.parametrize(("value", "received"), [(0.5, "0.5"), (2, "2"), (-1, "-1"), (np.nan, "nan")])
    def test_values_of_known(self, pixelcnn, value, received):
        with pytest.raises(ValueError, match=rf"`known` must hold 0 \(to be drawn\) and 1 \(kept\)\. Received: {received}"):
            pixelcnn.complete(X, np.array([[1, 1], [0, value]]))
        with pytest.raises(ValueError, match="`known` must hold numbers"):
            pixelcnn.complete(X, [["a", "b"], ["c", "d"]])

    @pytest.mark.parametrize("num_candidates", [0, -1, 1.5])
    def test_number_of_candidates(self, pixelcnn, num_candidates):
        with pytest.raises(
            ValueError, match=rf"`num_candidates` must be an integer, 1 or more. Received: num_candidates={num_candidates}"
        ):
            pixelcnn.complete(X, FIRST, num_candidates=num_candidates)

    def test_condition(self):
        case = CASES["made_binary_condition"]
        with pytest.raises(ValueError, match=r"needs a `condition`"):
            case.make().complete(case.x, FIRST)

    @model_cases("maf", "realnvp_levels", "gaussian_mixture", "made_real")
    def test_models_that_cannot(self, case):
        with pytest.raises(ValueError, match=rf"needs an autoregressive model .* Received: {case.cls.__name__}"):
            case.make().complete(case.x, np.ones(3))
