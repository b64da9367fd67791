"""What an event is, and what is one."""

import numpy as np
import pytest
import tensorflow as tf

from tfdgm.event import Event, can_be_reshaped


class TestEvent:
    def test_says_what_it_is(self):
        assert Event((2, 3)).size == 6 and not Event((2, 3)).is_discrete and Event((2, 3)).dtype("float64") == "float64"
        assert Event((4,), levels=3).is_discrete and Event((4,), levels=3).dtype("float64") == "int32"
        assert Event((2,), levels=(3, 5)).is_discrete and not Event((2,), levels=(None, 5)).is_discrete
        assert Event([np.int64(2)]) == Event((2,)) and hash(Event((2,), levels=[2, None])) == hash(Event((2,), levels=(2, None)))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"shape": 3}, r"`event_shape` must be a tuple of integers.*Received: event_shape=3"),
            ({"shape": (0,)}, r"each 1 or more"),
            ({"shape": (3,), "levels": 1}, r"`levels` must be an integer, 2 to 2147483648. Received: levels=1"),
            ({"shape": (3,), "levels": (2, None)}, r"one for each column of \(3,\). Received: 2 levels"),
            ({"shape": (2, 2), "levels": (2, 2)}, r"one for each column of \(2, 2\)"),
            ({"shape": (3,), "end": 0}, r"`end` needs a vector of integers 0..L-1. Received: shape=\(3,\), levels=None"),
            ({"shape": (2, 2), "levels": 3, "end": 0}, r"`end` needs a vector of integers"),
            ({"shape": (3,), "levels": 4, "end": 4}, r"`end` must be an integer, 0 to 3. Received: end=4"),
        ],
    )
    def test_refuses_what_is_none(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Event(**arguments)


class TestCheck:
    @pytest.mark.parametrize(
        ("event", "x", "message"),
        [
            (Event((3,)), [[1.0, 2.0]], r"`x` must end in event_shape=\(3,\). Received: x.shape=\(1, 2\)"),
            (Event((2,)), [[1.0, np.nan]], r"`x` must be finite. Received: nan at index \(0, 1\)"),
            (Event((2,)), [[1.0, 1e300]], r"`x` must fit in float32. Received: values up to 1e\+300"),
            (Event((2,), levels=3), [0.5, 1], r"`x` must hold integers 0..2. Received: 0.5"),
            (Event((2,), levels=3), [0, 3], r"`x` must hold integers 0..2. Received: values from 0 to 3"),
            (Event((2,), levels=(None, 3)), [0.5, 3], r"`x\[..., 1\]` must hold integers 0..2. Received: values from 3.0 to 3.0"),
            (Event((2,), levels=(None, 3)), [np.inf, 2], r"`x\[..., 0\]` must be finite. Received: inf at index \(\)"),
            (Event((2,)), [["a", "b"]], r"`x` must hold numbers. Received: dtype=<U1"),
            (Event((2,)), [[1], [2, 3]], r"`x` must be an array of numbers. Received: list"),
            (Event((2,)), np.ma.masked_array([1.0, 2], [0, 1]), r"`x` must have no masked entries"),
        ],
    )
    def test_refuses(self, event, x, message):
        with pytest.raises(ValueError, match=message):
            event.check(x, "float32")

    def test_takes(self):
        assert Event((2,), levels=3).check([[0.0, 2.0]], "float32").dtype == np.int32
        assert Event((2,)).check([[True, False]], "float64").dtype == np.float64
        mixed = Event((2,), levels=(None, 3)).check([[0.5, 2]], "float32")
        assert mixed.dtype == np.float32 and mixed.tolist() == [[0.5, 2.0]]

    def test_what_is_missing_becomes_0(self):
        event = Event((3,), levels=3, missing=True)
        x = [[1, np.nan, 2]]
        assert event.check(x, "float32").tolist() == [[1, 0, 2]] and event.known(x).tolist() == [[True, False, True]]
        with pytest.raises(ValueError, match=r"integers 0..2"):
            event.check([[np.nan, 3, 0]], "float32")


@pytest.mark.parametrize("of", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_are_levels(of, dtype):
    x = of(np.array([[-1, 0], [1, 2], [2, 3], [0, 0]], dtype))
    np.testing.assert_array_equal(Event((2,), levels=3).are_levels(x), [[False, True], [True, True], [True, False], [True, True]])
    np.testing.assert_array_equal(Event((2,)).are_levels(x), np.ones((4, 2), bool))
    mixed = Event((2,), levels=(None, 3))
    np.testing.assert_array_equal(mixed.are_levels(x), [[True, True], [True, True], [True, False], [True, True]])
    np.testing.assert_array_equal(Event((2,), levels=3).are_levels(of(np.array([[0.5, np.nan]]))), [[False, False]])


@pytest.mark.parametrize(
    ("shape", "event_shape", "expected"),
    [
        ((784,), (28, 28), True),
        ((28, 28), (28, 28, 1), True),
        ((8, 8, 3), (192,), True),
        ((1, 5), (5,), True),
        ((1,), (1, 1), True),
        ((24, 32, 1), (32, 24, 1), False),
        ((8, 24, 1), (8, 8, 3), False),
        ((3, 8, 8), (8, 8, 3), False),
        ((783,), (28, 28), False),
        ((28, 28), (28, 28, 3), False),
    ],
)
def test_can_be_reshaped(shape, event_shape, expected):
    assert can_be_reshaped(shape, event_shape) is expected
