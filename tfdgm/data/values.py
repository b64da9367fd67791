"""Which values are data: finite, within their dtype, and within the levels where there are levels."""

from collections.abc import Collection, Sequence

import numpy as np

from tfdgm.data.data_error import DataError

#: What real values may be read as.
REAL_DTYPES = ("float32", "float64")
#: Every integer up to here is a number of that dtype; of those beyond, some are rounded.
_LARGEST_INTEGER = {"float32": 2**24, "float64": 2**53}


def why_bad(value: float, levels: int | None, dtype: str) -> str | None:
    """The reason why one number is no data, or None."""
    if not np.isfinite(value):
        return f"{value} is not finite"
    if levels is None:
        return f"{value:.15g} is outside {dtype}'s range" if abs(value) > _largest(dtype) else None
    if value != int(value) or not 0 <= value < levels:
        return f"{value:.15g} is not one of the integers 0..{levels - 1}"
    return None


def first_bad(array: np.ndarray, levels: int | None, dtype: str, real: Collection[int] = ()) -> tuple[int, ...] | None:
    """The index (a tuple) of the first value in `array` [n, ...] that is no data, or None.

    `real` are columns of a table that are not held to `levels`.
    """
    if array.dtype.kind == "f":
        good = np.isfinite(array)
        if array.dtype.itemsize > np.dtype(dtype).itemsize:
            good &= np.abs(array) <= _largest(dtype)
        if levels is not None:
            whole = (array >= 0) & (array < levels) & (array == np.floor(array))
            whole[:, list(real)] = True
            good &= whole
    elif array.dtype.kind == "b":
        return None
    else:
        highest = (2**31 if levels is None else levels) - 1
        if array.min() >= 0 and array.max() <= highest:
            return None
        good = (array >= 0) & (array <= highest)
    if good.all():
        return None
    return tuple(int(i) for i in np.argwhere(~good)[0])


def check(
    array: np.ndarray,
    levels: int | None,
    dtype: str,
    where: str,
    offset: int = 0,
    real: Collection[int] = (),
    columns: Sequence[int] | None = None,
) -> None:
    """Raises DataError for the first bad value, named by its row and its place in the row (both from 0).

    `columns` are the numbers that the columns of a table have in its file.
    """
    bad = first_bad(array, levels, dtype, real)
    if bad is None:
        return
    value = array[bad]
    if array.dtype.kind in "iu" and value < 0:
        reason = (
            f"{value} is negative, but integers are levels 0..levels-1; "
            "save the array as floating point if its values are real-valued data"
        )
    elif array.dtype.kind in "iu" and levels is None:
        reason = f"expected integers below 2**31. Received: {value}"
    else:
        reason = why_bad(float(value), None if bad[1] in real else levels, dtype)
    place = bad[1:] if len(bad) != 2 else bad[1] if columns is None else columns[bad[1]]
    raise DataError(f"{where}: row {offset + bad[0]}, column {place} (from 0): {reason}.")


def check_in_blocks(array: np.ndarray, levels: int | None, dtype: str, where: str) -> float:
    """`check` of a long, perhaps memory-mapped array, some 32 MB at a time. Returns the largest value."""
    block = max(1, 2**25 // max(1, array[:1].nbytes))
    largest = 0
    for start in range(0, len(array), block):
        rows = array[start : start + block]
        check(rows, levels, dtype, where, offset=start)
        largest = max(largest, rows.max())
    return largest


def first_rounded(column: np.ndarray, dtype: str) -> float | None:
    """Of a column [n] of integers, as float64 or integers, the first that is not kept as `dtype`, or may not be; None where all
    are kept, or not all are integers."""
    size = np.abs(column)
    large = size > _LARGEST_INTEGER[dtype]
    # No dtype of integers goes further than 2^64.
    if not large.any() or size.max() > 2.0**64 or (column != np.floor(column)).any():
        return None
    # Beyond 2^53 a float64 may have been rounded when it was read.
    rounded = large & ((column.astype(dtype) != column) | (size > _LARGEST_INTEGER["float64"]))
    return column[rounded][0] if rounded.any() else None


def to_dtype(array: np.ndarray, levels: int | None, dtype: str) -> np.ndarray:
    """`dtype` for real values, int32 for levels."""
    return array.astype(dtype if levels is None else np.int32, copy=False)


def _largest(dtype):
    return float(np.finfo(dtype).max)
