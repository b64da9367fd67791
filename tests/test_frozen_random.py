import hashlib

import numpy as np

from tfdgm.frozen_random import FrozenRandom


def digest(values):
    return hashlib.sha256(values.astype("<i8").tobytes()).hexdigest()[:16]


class TestFrozenRandom:
    """Against what `numpy.random.default_rng` of NumPy 2.4.6 gave, with which the first artifacts were made."""

    def test_a_mixed_series(self):
        random = FrozenRandom(7)
        assert random.permutation(12).tolist() == [4, 6, 10, 0, 1, 3, 8, 7, 2, 5, 9, 11]
        assert random.integers(0, 9, 8).tolist() == [4, 8, 1, 7, 1, 4, 8, 3]
        assert random.integers(1, 2**31 - 2, (2, 2)).tolist() == [[733587778, 597914449], [1545052023, 547328271]]
        assert random.permutation(5).tolist() == [0, 3, 4, 1, 2]

    def test_long_ones(self):
        assert digest(FrozenRandom(0).permutation(784)) == "3aa79b80c498bc4e"
        assert digest(FrozenRandom(0).integers(1, 2**31 - 2, (3072, 2))) == "fe456dd44f247fe7"

    def test_small_ranges_are_uniform(self):
        random = FrozenRandom(1)
        counts = np.bincount(random.integers(0, 6, 7000), minlength=7)
        assert np.abs(counts - 1000).max() < 150
        first = np.bincount([random.permutation(3)[0] for _ in range(3000)])
        assert np.abs(first - 1000).max() < 150

    def test_one_value(self):
        assert FrozenRandom(0).integers(4, 4, 3).tolist() == [4, 4, 4]
        assert FrozenRandom(0).permutation(1).tolist() == [0]
