import numpy as np
import pytest

from tfdgm.distributions.some_rows import by_weight, some_rows


def batches(n, size):
    x = np.arange(n)
    return [{"x": x[i : i + size], "condition": 10 * x[i : i + size]} for i in range(0, n, size)]


def test_all_where_there_are_few():
    rows = some_rows(batches(100, 7), 100)
    np.testing.assert_array_equal(rows["x"], np.arange(100))
    np.testing.assert_array_equal(rows["condition"], 10 * np.arange(100))


def test_rows_from_all_over_the_data_in_order():
    rows = some_rows(batches(100_000, 512), 1000)
    assert len(rows["x"]) == 1000 and (np.diff(rows["x"]) > 0).all() and (rows["condition"] == 10 * rows["x"]).all()
    # Uniform: in each tenth of the data 100, to five standard deviations.
    assert np.abs(np.bincount(rows["x"] // 10_000, minlength=10) - 100).max() < 5 * np.sqrt(90)


def test_no_rows():
    with pytest.raises(ValueError, match="at least one batch"):
        some_rows([], 10)


def test_rows_by_weight_are_as_many_as_their_weights_say():
    weight = np.array([0, 1, 0.25, 5, 0, 3.75])
    x = by_weight({"x": np.arange(6), "weight": weight}, 1000)["x"]
    np.testing.assert_allclose(np.bincount(x, minlength=6), len(x) * weight / weight.sum(), atol=1)
    equal = by_weight({"x": np.arange(7), "weight": np.full(7, 0.3)}, 100)["x"]
    np.testing.assert_array_equal(np.bincount(equal), np.full(7, 15))
