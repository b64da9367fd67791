import numpy as np
import pytest

from tfdgm.distributions.some_rows import some_rows


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
