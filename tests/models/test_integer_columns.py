"""Columns of integers in a table of reals: flows dequantize them, and densities over the reals warn of them."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from contracts.weights import randomize

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")

random = np.random.default_rng(0)
#: A real number and an integer 0..3 that leans on it.
K = random.binomial(3, 0.4, 2000)
X = np.stack([random.normal(size=2000) + K, K], axis=1).astype("float32")
LEVELS = (None, 4)
MODELS = ["MAF", "IAF", "RealNVP"]


def made(name="MAF", levels=LEVELS, **config):
    model = getattr(tfdgm.models, name)((2,), levels=levels, **{"num_layers": 2, "hidden_units": (8,), **config})
    model.use_xla = False
    return model


@pytest.fixture(scope="module")
def model():
    """Far from trained, in float64."""
    made_ = made(dtype="float64")
    made_.adapt(X)
    return randomize(made_, 1, scale=0.5)


@pytest.fixture(scope="module")
def masses(model):
    """P(k and a real number in a cell) of [cells, 4], from a grid of the density, with what lies beyond the edges in the first
    and last k, as in samples. The cells end at -20, -1, 1, 3 and 20."""
    real = np.linspace(-20, 20, 601)[1:] - 1 / 30
    u = np.linspace(-0.25, 4.25, 91)[1:] - 0.025  # ScaledSigmoid(4) reaches 5.6 % of the levels beyond.
    grid = np.stack(np.meshgrid(real, u, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(model.distribution.density.log_prob_of_rows(tf.constant(grid)).numpy()).reshape(600, 90) / 15 * 0.05
    k = np.clip(np.floor(u), 0, 3).astype(int)
    cell = np.digitize(real, [-1, 1, 3])
    return np.array([[density[cell == i][:, k == j].sum() for j in range(4)] for i in range(4)])


class TestMixedMeasure:
    def test_sums_and_integrates_to_one(self, masses):
        assert masses.sum() == pytest.approx(1, abs=1e-3)

    def test_scores_are_the_density_at_x_plus_u_of_the_integers(self, model):
        x = np.array([[r, k] for r in (-0.7, 0.4, 2.2) for k in (1, 2)])
        points, weights = np.polynomial.legendre.leggauss(24)
        at = x[:, None] + np.stack([0 * points, (points + 1) / 2], axis=-1)
        log_density = model.distribution.density.log_prob_of_rows(tf.constant(at.reshape(-1, 2))).numpy().reshape(6, -1)
        exact = np.log(np.exp(log_density) @ weights / 2)  # P(k) p(r | k), by Gauss's quadrature over u.
        seeds = tf.constant([[7, i] for i in range(6 * 3000)], tf.int32)
        rows = tf.constant(np.repeat(x, 3000, axis=0))
        scores = model.distribution.log_prob_of_seeds(rows, seeds).numpy().reshape(6, 3000)
        np.testing.assert_allclose(np.log(np.exp(scores).mean(axis=1)), exact, atol=0.1)
        assert (scores.mean(axis=1) < exact).all() and model.kind == "estimate"
        noise = model.distribution.scoring_noise(seeds[:10]).numpy()
        assert (noise[:, 0] == 0).all() and (noise[:, 1] > 0).all()

    def test_samples_are_whole_and_as_often(self, model, masses):
        sample = model.sample(20_000, seed=1).numpy()
        assert set(np.unique(sample[:, 1])) <= {0, 1, 2, 3} and len(np.unique(sample[:, 0])) > 19_900
        found = np.histogram2d(sample[:, 0], sample[:, 1], bins=[[-20, -1, 1, 3, 20], np.arange(5) - 0.5])[0]
        assert (np.abs(found - 20_000 * masses) < 5 * np.sqrt(20_000 * masses + 1)).all()


@pytest.mark.parametrize("name", MODELS)
def test_every_road(name, tmp_path):
    model = made(name)
    model.compile("adam")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The values of")  # None of integers that are said to be some.
        model.fit(X[:200], batch_size=100, validation_data=X[:20], verbose=0)
    assert model.event == tfdgm.Event((2,), LEVELS) and model.get_config()["levels"] == LEVELS
    x = X[:20]
    scores = model.log_prob(x).numpy()
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(model.predict(x, verbose=0), scores, rtol=1e-5)
    np.testing.assert_allclose(model.predict(tf.data.Dataset.from_tensor_slices(x).batch(7), verbose=0), scores, rtol=1e-5)
    expected = -np.mean(model.lower_bound(x, num_samples=1))
    assert model.evaluate(x, num_samples=1, verbose=0) == pytest.approx(expected, rel=1e-5)
    z, _ = model.encode(x)
    np.testing.assert_allclose(model.decode(z), x, atol=1e-3)
    if name == "MAF":
        model.export(tmp_path / "1")
        served = tf.saved_model.load(tmp_path / "1").signatures
        np.testing.assert_allclose(served["log_prob"](x=tf.constant(x))["log_prob"], scores, rtol=1e-4)
        loaded = tfdgm.load(tmp_path)
        np.testing.assert_array_equal(loaded.log_prob(x), scores)
        sample = served["sample"](seed=tf.constant([[1, i] for i in range(50)]))["x"].numpy()
        np.testing.assert_allclose(sample, loaded.sample(50, seed=1), rtol=1e-4, atol=1e-4)
        assert (sample[:, 1] == np.floor(sample[:, 1])).all() and (sample[:, 0] != np.floor(sample[:, 0])).all()
        wrong = tf.constant([[0.5, 1.5], [0.5, 4], [0.5, -1], [0.5, 2]])
        assert list(np.isfinite(served["log_prob"](x=wrong)["log_prob"])) == [False, False, False, True]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((None, 4, 2), "one for each column"),
        ((None, 1), "levels=1"),
        ((None, 2**21), "no room for noise"),
        ((None, 0.5), "levels=0.5"),
    ],
)
def test_levels_that_are_none(levels, message):
    with pytest.raises(ValueError, match=message):
        made(levels=levels)


@pytest.mark.parametrize("value", [1.5, 4, -1, np.nan])
def test_values_that_are_none_of_the_levels(model, value):
    for method in (model.log_prob, model.predict):
        with pytest.raises(ValueError, match=r"`x\[..., 1\]` must hold integers 0..3"):
            method(np.array([[0.3, value]]))


def column(of):
    return np.stack([random.normal(size=200), of], axis=1)


GRID = np.round(random.normal(size=200), 1)
COLUMNS = {
    "an age": (random.integers(0, 100, 200), True),
    "counts": (random.poisson(2, 200), True),
    "yes or no": (random.integers(0, 2, 200), True),
    "negative integers": (random.integers(-20, 20, 200), True),
    "months as fractions of a year": (random.integers(0, 12, 200) / 12, True),
    "a sensor of few steps": (np.resize(np.linspace(0.1, 0.9, 15), 200), True),
    "many zeros": (np.where(np.arange(200) % 5 == 0, 0, random.normal(size=200)), True),
    "clipped": (np.minimum(random.normal(size=200), 0.5), True),
    "money in cents": (np.round(random.exponential(1000, 200), 2), False),
    "numbers that never repeat": (random.permutation(200), False),
    "a float16": (random.normal(size=200).astype("float16"), False),
    "normal": (random.normal(size=200), False),
}


@pytest.mark.parametrize(("of", "warns"), COLUMNS.values(), ids=COLUMNS)
def test_what_is_warned_of(of, warns):
    model = made(levels=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.adapt(column(of))
    assert [str(w.message).startswith("The values of x[:, 1] repeat, as integers do") for w in caught] == [True] * warns


def test_the_warning_names_columns_and_the_data_are_read_once():
    pandas = pytest.importorskip("pandas")
    model, frame = made(levels=None), pandas.DataFrame(column(COLUMNS["an age"][0]), columns=["height", "age"])
    with pytest.warns(UserWarning, match=r"The values of x\[:, 1\] \(age\) repeat.*levels=\(None, 100, \.\.\.\).*--integers"):
        model.adapt(frame)
    times = []

    def batches():
        times.append(1)
        yield X

    data = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((None, 2)))
    made().adapt(data)
    assert len(times) == 1
