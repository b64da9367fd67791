"""Entries that are unknown are integrated out, on every road."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from contracts.weights import randomize

import tfdgm
from tfdgm import families, networks
from tfdgm.distributions import Autoregressive

pytestmark = pytest.mark.usefixtures("eagerly")

# By the network's order, in which the last position comes first.
X = np.array([[2, 1, 0], [0, 1, 2], [0, 0, 1], [0, 0, 0]])
KNOWN = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]])
WITH_NAN = np.where(KNOWN, X, np.nan)


def make():
    network = networks.MADE((3,), params_size=3, hidden_units=(8,), input_order="right-to-left", dtype="float64")
    distribution = Autoregressive(randomize(network), families.Categorical(3), missing=True)
    model = tfdgm.DensityModel.from_distribution(distribution)
    model.use_xla = False
    return model


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def expected(model):
    """The sum of P over all values of what is unknown."""
    sums = []
    for x, known in zip(X, KNOWN, strict=True):
        values = [[value] if is_known else range(3) for value, is_known in zip(x, known, strict=True)]
        sums.append(np.log(np.sum(np.exp(model.log_prob(np.array(list(itertools.product(*values))))))))
    return np.array(sums)


def dicts(x, known=None):
    return tf.data.Dataset.from_tensor_slices({"x": x} if known is None else {"x": x, "known": known}).batch(3)


ROADS = {
    "known": lambda model: model.log_prob(X, known=KNOWN),
    "NaN": lambda model: model.log_prob(WITH_NAN),
    "two batch axes": lambda model: tf.reshape(model.log_prob(WITH_NAN.reshape(2, 2, 3)), [-1]),
    "one by one": lambda model: [model.log_prob(x) for x in WITH_NAN],
    "distribution": lambda model: model.distribution.log_prob(X, known=KNOWN),
    "distribution, NaN": lambda model: model.distribution.log_prob(WITH_NAN),
    "predict": lambda model: model.predict(WITH_NAN, verbose=0),
    "predict of a dict": lambda model: model.predict({"x": X, "known": KNOWN}, verbose=0),
    "predict of dicts": lambda model: model.predict(dicts(X, KNOWN), verbose=0),
    "predict of NaN in a tf.data": lambda model: model.predict(dicts(WITH_NAN), verbose=0),
}


@pytest.mark.parametrize("road", ROADS)
def test_log_prob_is_that_of_the_known(model, expected, road):
    np.testing.assert_allclose(ROADS[road](model), expected, rtol=1e-10, atol=1e-12)


def test_in_a_function(model, expected):
    def log_prob(x):
        return model.log_prob(x, known=tf.constant(KNOWN))

    for jit_compile in (False, True):
        compiled = tf.function(log_prob, jit_compile=jit_compile)(tf.constant(X))
        np.testing.assert_allclose(compiled, expected, rtol=1e-10, atol=1e-12)


def test_evaluate_and_fit(expected):
    model = make()
    model.compile("sgd")
    assert model.evaluate(WITH_NAN, verbose=0) == pytest.approx(-expected.mean())
    for batches in ({"x": X, "known": KNOWN}, dicts(X, KNOWN)):
        before = model.predict(WITH_NAN, verbose=0).mean()
        model.fit(batches, epochs=3, verbose=0)
        assert model.predict(WITH_NAN, verbose=0).mean() > before


def test_signature(model, expected, tmp_path):
    model.export(tmp_path / "1")
    log_prob = tf.saved_model.load(str(tmp_path / "1")).signatures["log_prob"]
    given = {"x": tf.constant(X, tf.int32), "known": tf.constant(KNOWN, tf.int32)}
    np.testing.assert_allclose(log_prob(**given)["log_prob"], expected, rtol=1e-10, atol=1e-12)


class TestWhatCannotBeIntegratedOut:
    # The first in the network's order is unknown, and others are known.
    def test_is_an_error_at_the_door(self, model):
        for call in (model.log_prob, lambda x: model.predict(x, verbose=0)):
            with pytest.raises(ValueError, match=r"Received: 1 other rows, the first with known=\[1, 1, 0\]"):
                call([[0, 1, 2], [0, 1, np.nan]])

    def test_is_impossible_inside(self, model):
        assert model.distribution.log_prob([[0, 1, np.nan]]).numpy() == -np.inf


def test_a_model_without_missing_entries_takes_none():
    model = tfdgm.models.MADE((3,), levels=3, hidden_units=(4,))
    with pytest.raises(ValueError, match="takes no `known`"):
        model.log_prob(X, known=KNOWN)
    with pytest.raises(ValueError, match=r"integers 0..2. Received: nan"):
        model.log_prob(WITH_NAN)
    with pytest.raises(ValueError, match="takes no `known`"):
        model.distribution.log_prob(X, known=KNOWN)


def test_known_of_another_shape(model):
    with pytest.raises(ValueError, match=r"`known` must have the shape of `x`, \(4, 3\), or event_shape=\(3,\)"):
        model.log_prob(X, known=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"`known` must hold 0 \(unknown\) and 1 \(known\). Received: 2"):
        model.log_prob(X, known=[2, 1, 1])
