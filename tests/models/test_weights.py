"""Rows that count more than others, from all that Keras users train from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdgm

pytestmark = [
    pytest.mark.usefixtures("eagerly"),
    pytest.mark.filterwarnings("ignore:MAF over one dimension can only be a Gaussian"),
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),  # Keras says so where it knows no length beforehand.
]

random = np.random.default_rng(0)
X = (random.normal(size=(40, 1)) ** 2 + 3).astype("float32")
C = random.normal(size=(40, 2)).astype("float32")
W = random.exponential(size=40).astype("float32")


class Rows(keras.utils.PyDataset):
    """Parts [n, ...] in batches of ten, as tuples."""

    def __init__(self, *parts, **options):
        super().__init__(**options)
        self.parts, self.epochs = parts, 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        batch = tuple(None if part is None else part[10 * index : 10 * index + 10] for part in self.parts)
        return batch if len(batch) > 1 else batch[0]

    def on_epoch_end(self):
        self.epochs += 1


def generator(*parts):
    yield from (Rows(*parts)[i] for i in range(4))


def tf_data(*parts):
    data = tf.data.Dataset.from_tensor_slices(tuple(part for part in parts if part is not None)).batch(10)
    return data.map(lambda x, weight: (x, None, weight)) if parts[1] is None else data


def dicts(*parts):
    return {name: part for name, part in zip(("x", "condition", "weight"), parts, strict=False) if part is not None}


ROADS = {
    "arrays": lambda x, c, w: ((x, c), {"sample_weight": w}),
    "dict": lambda x, c, w: ((dicts(x, c, w),), {}),
    "tf.data": lambda x, c, w: ((tf_data(x, c, w),), {}),
    "tf.data of dicts": lambda x, c, w: ((tf.data.Dataset.from_tensor_slices(dicts(x, c, w)).batch(10),), {}),
    "PyDataset": lambda x, c, w: ((Rows(x, c, w),), {}),
    "PyDataset, workers": lambda x, c, w: ((Rows(x, c, w, workers=3),), {}),
    "generator": lambda x, c, w: ((generator(x, c, w),), {}),
}


def made(rate=0.05, cls=tfdgm.models.MAF, **config):
    keras.utils.set_random_seed(0)
    model = cls(**{"event_shape": (1,), "num_layers": 1, "hidden_units": (4,), **config})
    model.use_xla = False
    model.compile(keras.optimizers.SGD(rate))
    return model


@pytest.mark.parametrize(("road", "condition"), [*((road, C) for road in ROADS), ("tf.data", None), ("generator", None)])
def test_the_loss_is_keras_sum_over_the_batch_size(road, condition):
    road = ROADS[road]
    model = made(condition_shape=condition if condition is None else (2,))
    arguments, options = road(X, condition, W)
    expected = -np.sum(W * model.log_prob(X, condition).numpy()) / 40
    assert model.evaluate(*arguments, **options, verbose=0) == pytest.approx(expected, rel=1e-5)
    arguments, options = road(X, condition, W)
    validation = (X, condition, W)
    history = model.fit(*arguments, **options, batch_size=10, shuffle=False, validation_data=validation, verbose=0).history
    other = made(condition_shape=condition if condition is None else (2,))
    other.adapt(X, condition, sample_weight=W)
    for i in range(0, 40, 10):
        other.train_on_batch(X[i : i + 10], None if condition is None else condition[i : i + 10], W[i : i + 10])
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2e-5, atol=1e-6)
    found = -np.sum(W * model.log_prob(X, condition).numpy()) / 40
    assert history["val_loss"] == [pytest.approx(found, rel=1e-5)]


def test_the_fitted_gaussian_is_that_of_the_weighted_moments():
    mean = np.average(X, weights=W[:, None])
    deviation = np.sqrt(np.average((X - mean) ** 2, weights=W[:, None]))
    model = made(rate=0.3)
    model.adapt(X)  # By the moments without weights, which training must leave.
    for _ in range(60):
        model.train_on_batch(X, None, W)
    shift, scale = (model.decode([[z]]).numpy().item() for z in (0.0, 1.0))
    assert (shift, scale - shift) == (pytest.approx(mean, rel=1e-4), pytest.approx(deviation, rel=1e-3))
    assert abs(deviation / X.std() - 1) > 0.05  # Without weights it is another one.


def test_weights_that_are_whole_are_repetitions():
    times = np.arange(40) % 3
    weighted, repeated = made(), made(rate=0.05 * times.sum() / 40)
    for model in (weighted, repeated):
        model.adapt(X)
    weighted.train_on_batch(X, None, times)
    repeated.train_on_batch(np.repeat(X, times, axis=0))
    for weight, expected in zip(weighted.trainable_weights, repeated.trainable_weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_accumulated_steps_are_one_step():
    one, four = made(), made()
    four.compile(keras.optimizers.SGD(0.05, gradient_accumulation_steps=4))
    one.fit(X, sample_weight=W, batch_size=40, shuffle=False, verbose=0)
    four.fit(X, sample_weight=W, batch_size=10, shuffle=False, verbose=0)
    for weight, expected in zip(one.trainable_weights, four.trainable_weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_a_row_of_no_weight_counts_nothing_whatever_its_score():
    model = made()
    model.adapt(X)
    x = np.concatenate([X, [[1e38]]])
    assert model.log_prob(x)[-1] == -np.inf
    found = model.evaluate(x, sample_weight=np.append(W, 0), verbose=0)
    assert found == pytest.approx(-np.sum(W * model.log_prob(X).numpy()) / 41, rel=1e-5)


def test_no_score_has_a_weight():
    model = made()
    np.testing.assert_array_equal(model.predict({"x": X, "weight": W}, verbose=0), model.predict(X, verbose=0))


def test_a_py_dataset_hears_of_its_epochs_and_is_shuffled():
    data, model = Rows(X), made()
    model.fit(data, epochs=3, verbose=0)
    assert data.epochs == 3
    straight = [tuple(batch["x"].numpy().ravel()) for batch in tfdgm.models.batch_sources.of_py_dataset(data)]
    shuffled = [tuple(batch["x"].numpy().ravel()) for batch in tfdgm.models.batch_sources.of_py_dataset(data, shuffle=True)]
    assert sorted(straight) == sorted(shuffled) and straight == [tuple(X[i : i + 10].ravel()) for i in range(0, 40, 10)]


def test_an_endless_generator_trains_by_its_steps():
    def endless():
        while True:
            yield X, None, W

    model = made()
    model.adapt(X)  # Which else reads 65,536 rows.
    history = model.fit(endless(), steps_per_epoch=3, epochs=2, validation_data=endless(), validation_steps=1, verbose=0).history
    assert len(history["loss"]) == 2 and model.optimizer.iterations == 6


def test_a_generator_that_has_ended():
    with pytest.raises(ValueError, match=r"iterator of batches has ended.*a PyDataset or a tf.data"):
        made().fit(generator(X), epochs=2, verbose=0)
    for method in (made().fit, made().evaluate):
        with pytest.raises(ValueError, match="is empty: expected at least one batch"):
            method(iter(()), verbose=0)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (W[:5], r"one number a row, shape \(40,\)\. Received: shape \(5,\)"),
        (-W, r"finite and not negative. Received: -0\.\d+ in row 0"),
        (np.where(W > 1, np.nan, W), "finite and not negative. Received: nan in row"),
        (0 * W, "must have a row above 0. Received: zeros"),
        (["a"] * 40, "must hold numbers. Received: dtype=<U1"),
    ],
)
def test_weights_that_are_none(weight, message):
    model = made()
    for method in (model.fit, model.evaluate, model.adapt):
        with pytest.raises(ValueError, match=f"`sample_weight` {message}" if "must" in message else message):
            method(X, sample_weight=weight, **({} if method == model.adapt else {"verbose": 0}))
    if np.shape(weight) == (40,) and message.startswith("finite"):
        with pytest.raises(ValueError, match="`weight` must be finite and not negative"):
            model.evaluate(tf_data(X, None, weight), verbose=0)
