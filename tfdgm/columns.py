"""The names of columns that a DataFrame brings: others are put in their order."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdgm.event import numbers


def column_names(x: Any) -> tuple[str | int, ...] | None:
    """The names of a DataFrame's columns, or of a Series; None of arrays, and where two are the same."""
    names = x.columns if hasattr(x, "columns") else [x.name] if _is_series(x) and x.name is not None else ()
    names = tuple(name.item() if isinstance(name, np.generic) else name for name in names)
    names = tuple(name if isinstance(name, (str, int)) else str(name) for name in names)
    return names if names and len(set(names)) == len(names) else None


def in_order(x: Any, names: Sequence[str | int] | None, what: str) -> Any:
    """x with its columns in the order of `names`, those of the training data; what has no names is as it is.

    A Series is one row, where its index holds the names. Names 0..D-1 are those of a DataFrame that was given none.
    """
    if names is None:
        return x
    if _is_series(x):
        received = tuple(x.index)
        if set(received) != set(names):
            received = (x.name,) if len(names) == 1 and isinstance(x.name, str) else None
    else:
        received = column_names(x)
    if received is None or received == tuple(names):
        return x
    if set(received) == set(names):
        return numbers(x, what)[..., [received.index(name) for name in names]]
    if tuple(range(len(received))) == received or tuple(range(len(names))) == tuple(names):
        return x
    raise ValueError(f"`{what}` must have the columns of the training data, {tuple(names)}, in any order. Received: {received}")


def _is_series(x):
    return hasattr(x, "name") and hasattr(x, "index") and hasattr(x, "to_numpy")
