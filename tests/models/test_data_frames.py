"""Tables whose columns stand in another order than in training, or are of other kinds than NumPy's."""

import decimal

import keras
import numpy as np
import pandas as pd
import pyarrow
import pytest
import tensorflow as tf

import tfdgm

pytestmark = pytest.mark.usefixtures("eagerly")

RANDOM = np.random.default_rng(0)
X = pd.DataFrame(RANDOM.normal(size=(12, 3)) * [1, 10, 100] + [0, 30, -500], columns=["a", "b", "c"])
C = pd.DataFrame(RANDOM.normal(size=(12, 2)) * [1, 5], columns=["u", "v"])


def made(condition_shape=None):
    model = tfdgm.models.MAF((3,), num_layers=1, hidden_units=(4,), condition_shape=condition_shape)
    model.use_xla = False
    model.compile("adam")
    return model


@pytest.fixture(scope="module")
def model():
    model = made((2,))
    model.fit(X, C, epochs=1, verbose=0)
    return model


@pytest.fixture(scope="module")
def integers():
    model = tfdgm.models.MADE((3,), levels=4, hidden_units=(4,))
    model.use_xla = False
    model.adapt(pd.DataFrame(RANDOM.integers(0, 4, (12, 3)), columns=["a", "b", "c"]))
    return model


def test_training_remembers_the_names(model, integers):
    assert model.column_names == integers.column_names == ("a", "b", "c")
    assert model.condition_names == ("u", "v") and integers.condition_names is None


@pytest.mark.parametrize("method", ["log_prob", "bits_per_dim", "evaluate"])
def test_another_order_is_put_in_order(model, method):
    quiet = {"verbose": 0} if method == "evaluate" else {}
    expected = getattr(model, method)(X.to_numpy(), C.to_numpy(), **quiet)
    for x, c in ((X, C), (X[["c", "a", "b"]], C), (X, C[["v", "u"]]), (X[["b", "c", "a"]], C[["v", "u"]])):
        np.testing.assert_array_equal(getattr(model, method)(x, c, **quiet), expected)


def test_one_row(model):
    expected = model.log_prob(X.to_numpy()[0], C.to_numpy()[0])
    np.testing.assert_array_equal(model.log_prob(X[["c", "a", "b"]].iloc[0], C[["v", "u"]].iloc[0]), expected)
    np.testing.assert_array_equal(model.log_prob(pd.Series(X.to_numpy()[0]), C.iloc[0]), expected)


def test_samples_and_completions(model, integers):
    expected = model.sample(12, seed=1, condition=C.to_numpy())
    np.testing.assert_array_equal(model.sample(12, seed=1, condition=C[["v", "u"]]), expected)
    x, known = np.array([[3, 2, 1]]), np.array([[1, 1, 0]])
    expected = integers.complete(x, known, seed=1)
    x, known = (pd.DataFrame(rows, columns=["a", "b", "c"])[["c", "b", "a"]] for rows in (x, known))
    np.testing.assert_array_equal(integers.complete(x, known, seed=1), expected)


def test_further_training_and_validation():
    histories = []
    for x in (X, X[["c", "b", "a"]]):
        keras.utils.set_random_seed(1)
        model = made()
        model.adapt(X)
        fitted = model.fit(x, validation_data=x, epochs=1, shuffle=False, verbose=0)
        histories.append(fitted.history)
        assert model.column_names == ("a", "b", "c")
    assert histories[0] == histories[1]


def test_other_names_are_refused(model):
    for x, received in ((X.rename(columns={"c": "d"}), r"\('a', 'b', 'd'\)"), (X.assign(d=1.0), r"\('a', 'b', 'c', 'd'\)")):
        with pytest.raises(
            ValueError, match=rf"`x` must have the columns .*\('a', 'b', 'c'\), in any order. Received: {received}"
        ):
            model.log_prob(x, C)
    with pytest.raises(ValueError, match=r"`condition` must have the columns .*\('u', 'v'\).*Received: \('u', 'w'\)"):
        model.log_prob(X, C.rename(columns={"v": "w"}))
    with pytest.raises(ValueError, match=r"`validation_data` must have the columns"):
        model.fit(X, C, validation_data=(X.rename(columns={"c": "d"}), C), verbose=0)


def test_what_has_no_names_is_taken_as_it_is(model):
    expected = model.log_prob(X.to_numpy(), C.to_numpy())
    for x in (X.to_numpy(), X.to_numpy().tolist(), pd.DataFrame(X.to_numpy()), X.set_axis(["a", "a", "b"], axis=1)):
        np.testing.assert_array_equal(model.log_prob(x, C), expected)


@pytest.fixture(scope="module")
def kinds():
    """A frame of a float, an integer and a boolean column."""
    frame = pd.DataFrame({"a": RANDOM.normal(size=12), "b": RANDOM.integers(0, 9, 12), "c": RANDOM.integers(0, 2, 12) == 1})
    return frame.assign(a=frame.a.astype("float32").astype(float))


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
def test_columns_of_several_kinds_are_numbers(kinds, backend):
    frame = kinds if backend is None else kinds.convert_dtypes(dtype_backend=backend)
    expected = np.stack([kinds.a, kinds.b, kinds.c], axis=1)
    model = made((1,))
    model.fit(frame, frame[["c"]], epochs=1, verbose=0)
    scores = model.log_prob(expected, expected[:, 2:])
    np.testing.assert_array_equal(model.log_prob(frame, frame[["c"]]), scores)
    np.testing.assert_array_equal(model.log_prob(frame[["c", "b", "a"]], frame[["c"]]), scores)
    np.testing.assert_array_equal(model.log_prob(frame, frame["c"].to_frame()), scores)
    np.testing.assert_allclose(model.log_prob(frame.iloc[0].astype(float), [expected[0, 2]]), scores[0], rtol=1e-5)
    np.testing.assert_allclose(model.predict(frame, frame[["c"]], verbose=0), scores, rtol=1e-5)


def test_decimals_are_numbers(model):
    decimals = X.map(lambda value: decimal.Decimal(f"{value:.3f}")).astype(pd.ArrowDtype(pyarrow.decimal128(9, 3)))
    np.testing.assert_array_equal(model.log_prob(decimals, C), model.log_prob(X.round(3), C))


def test_levels_are_those_of_nullable_integers(integers):
    frame = pd.DataFrame(RANDOM.integers(0, 4, (12, 3)), columns=["a", "b", "c"])
    np.testing.assert_array_equal(integers.log_prob(frame.convert_dtypes()), integers.log_prob(frame))
    mixed = frame.assign(a=frame.a > 1)
    np.testing.assert_array_equal(integers.log_prob(mixed), integers.log_prob(mixed.to_numpy(dtype=int)))


@pytest.mark.parametrize(
    "x,message",
    [
        (
            X.convert_dtypes().assign(b=pd.array([1.0, None] * 6, dtype="Float64")),
            r"`x` must be finite. Received: nan at index \(1, 1\)",
        ),
        (X.assign(b="1"), "`x` must hold numbers. Received: dtype=object"),
        (X.assign(b=pd.Timestamp("2020-01-01")), "`x` must hold numbers"),
        (X.assign(b=np.array([1.0, "1"] * 6, object)), "`x` must hold numbers"),
    ],
)
def test_missing_values_and_text_are_not(model, x, message):
    with pytest.raises(ValueError, match=message):
        model.log_prob(x, C)


@pytest.mark.parametrize(
    "first", [X.to_numpy(), tf.data.Dataset.from_tensor_slices(X.to_numpy()).batch(4), X.set_axis([*"aab"], axis=1)]
)
def test_a_model_trained_on_what_has_no_names_takes_tables_as_they_are(first):
    model = made()
    model.fit(first, epochs=1, verbose=0)
    model.fit(X, epochs=1, verbose=0)
    assert model.column_names is None and "column_names" not in model.get_config()
    reordered = X[["c", "a", "b"]]
    np.testing.assert_array_equal(model.log_prob(reordered), model.log_prob(reordered.to_numpy()))


def test_a_series_as_condition():
    model = made(())
    model.fit(X, C["u"], epochs=1, verbose=0)
    assert model.condition_names == ("u",)
    np.testing.assert_array_equal(model.log_prob(X, C["u"]), model.log_prob(X.to_numpy(), C["u"].to_numpy()))
    with pytest.raises(ValueError, match=r"`condition` must have the columns .*\('u',\).*Received: \('v',\)"):
        model.log_prob(X, C["v"])


def test_the_names_travel(model, tmp_path):
    model.export(tmp_path / "1")
    model.save(tmp_path / "model.keras")
    for again in (tfdgm.load(tmp_path), keras.saving.load_model(tmp_path / "model.keras")):
        again.use_xla = False
        assert again.column_names == ("a", "b", "c") and again.condition_names == ("u", "v")
        np.testing.assert_array_equal(again.log_prob(X[["c", "a", "b"]], C[["v", "u"]]), model.log_prob(X, C))
