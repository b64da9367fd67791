"""Scores that are -infinity or NaN: how many there are, and which row is the first."""

import warnings

import numpy as np


class NonFiniteScoresWarning(UserWarning):
    """Some scores are -infinity or NaN."""


class NonFinite:
    """Counts them, part by part: `add(scores)`, then `warn()`.

    Attributes:
      count: how many there are.
      first: the number of the first such row, from 0, or None.
      rows: how many rows there are.
    """

    def __init__(self):
        self.count, self.first, self.rows = 0, None, 0

    def add(self, scores: np.ndarray) -> None:
        """Counts those of the next scores [n]."""
        bad = np.flatnonzero(~np.isfinite(scores))
        self.add_counted(len(bad), int(bad[0]) if len(bad) else None, len(scores))

    def add_counted(self, count: int, first: int | None, rows: int) -> None:
        """As `add`, of a part that was counted elsewhere."""
        if count and self.first is None:
            self.first = self.rows + first
        self.count, self.rows = self.count + count, self.rows + rows

    def warn(self, stacklevel: int = 3) -> None:
        """A `NonFiniteScoresWarning` where there are some."""
        if self.count:
            warnings.warn(
                f"{self.count:,} of {self.rows:,} scores are -inf or NaN, the first that of row {self.first:,}, counted from 0: "
                "the model gives such rows no probability, or its numbers end there.",
                NonFiniteScoresWarning,
                stacklevel=stacklevel,
            )
