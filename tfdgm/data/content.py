"""What every reader hands to `loading`: arrays, with or without their own splits."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of one split.

    x: array or memory map [n, *event_shape], any real or integer dtype.
    condition: array [n, *condition_shape] of real values, or None.
    weight: array [n], how much each row counts, or None.
    rows: the row numbers of `x` that belong to this part, in order.
    """

    x: np.ndarray
    condition: np.ndarray | None = None
    rows: np.ndarray | None = None
    weight: np.ndarray | None = None

    def __post_init__(self):
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(len(self.x)))


@dataclasses.dataclass(frozen=True)
class Content:
    """A data set as read: `parts` has the key "all", or "train" and any of "valid" and "test". `columns` are the names of a
    table's columns that are x, where it has names; `classes` those of a condition that is one-hot, where they are known;
    `excerpt_of`, where part "test" is an excerpt, the number of rows of the whole."""

    name: str
    parts: dict
    levels: int | None
    sha256: str
    description: str
    columns: tuple | None = None
    classes: tuple | None = None
    excerpt_of: int | None = None


def divide(part: Part, *, valid_fraction: float, test_fraction: float, seed: int) -> dict[str, Part]:
    """Divides a part into train, valid and test by a permutation of its row numbers fixed by the seed.

    `RandomState` is numpy's frozen generator: the same seed gives the same split with every numpy version.
    A fraction above zero gives at least one row, as long as one is left for train. Within a split rows keep
    their order.
    """
    n = len(part.rows)
    num_test = _count(n, test_fraction)
    num_valid = _count(n, valid_fraction)
    order = np.random.RandomState(seed).permutation(n)
    pieces = np.split(order, [num_test, num_test + num_valid])
    test, valid, train = (dataclasses.replace(part, rows=part.rows[np.sort(p)]) for p in pieces)
    return {"train": train, "valid": valid, "test": test}


def excerpt(what: Content, every: int) -> Content:
    """Each `every`-th row of test, and none of the others."""
    parts = {key: dataclasses.replace(part, rows=part.rows[:0]) for key, part in what.parts.items()}
    test = what.parts["test"]
    parts["test"] = dataclasses.replace(test, rows=test.rows[::every])
    return dataclasses.replace(what, parts=parts, excerpt_of=len(test.rows))


def _count(n, fraction):
    if fraction == 0.0 or n < 3:
        return 0
    return max(1, round(n * fraction))
