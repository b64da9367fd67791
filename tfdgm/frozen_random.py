"""What a model's seed means, for all time: permutations and integers that artifacts rely on but do not hold.

NumPy keeps the raw streams of its bit generators, and lets the methods of `Generator` change between versions. These are methods
of `numpy.random.default_rng` as they are in NumPy 2.4, on the raw stream of PCG64.
"""

import numpy as np


class FrozenRandom:
    """`numpy.random.default_rng(seed)` with two of its methods, whose numbers never change."""

    def __init__(self, seed):
        self._words, self._raw = [], np.random.PCG64(seed)

    def permutation(self, n):
        """A permutation of 0..n-1, int64 [n]."""
        order = np.arange(n)
        for i in range(n - 1, 0, -1):
            j = self._masked(i)
            order[i], order[j] = order[j], order[i]
        return order

    def integers(self, low, high, size):
        """Uniform integers low..high, int64 [size], by Lemire 2019, arXiv:1805.10941."""
        span = high - low + 1
        return low + np.array([self._bounded(span) for _ in range(int(np.prod(size)))], np.int64).reshape(size)

    def _bounded(self, span):
        if span == 1:
            return 0
        while True:
            product = self._word() * span
            if product % 2**32 >= 2**32 % span:
                return product // 2**32

    def _masked(self, highest):
        while True:
            value = self._word() & ((1 << highest.bit_length()) - 1)
            if value <= highest:
                return value

    def _word(self):
        """32 bits: of each 64 the lower half first."""
        if not self._words:
            word = int(self._raw.random_raw())
            self._words = [word >> 32, word & 0xFFFFFFFF]
        return self._words.pop()
