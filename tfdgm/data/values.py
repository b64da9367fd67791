"""Which values are data: finite, within float32, and within the levels where there are levels."""

import numpy as np

from tfdgm.data.data_error import DataError

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def why_bad(value, levels):
    """The reason why one number is no data, or None."""
    if not np.isfinite(value):
        return f"{value} is not finite"
    if levels is None:
        return f"{value:g} is outside float32's range" if abs(value) > _FLOAT32_MAX else None
    if value != int(value) or not 0 <= value < levels:
        return f"{value:g} is not one of the integers 0..{levels - 1}"
    return None


def first_bad(array, levels):
    """The index (a tuple) of the first value in `array` [n, ...] that is no data, or None."""
    if array.dtype.kind == "f":
        good = np.isfinite(array)
        if levels is not None:
            good &= (array >= 0) & (array < levels) & (array == np.floor(array))
        elif array.dtype.itemsize > 4:
            good &= np.abs(array) <= _FLOAT32_MAX
    elif array.dtype.kind == "b":
        return None
    else:
        low, high = array.min(), array.max()
        if low >= 0 and (levels is None or high < levels):
            return None
        good = array >= 0
        if levels is not None:
            good &= array < levels
    if good.all():
        return None
    return tuple(int(i) for i in np.argwhere(~good)[0])


def check(array, levels, where, offset=0):
    """Raises DataError for the first bad value, named by its row and its place in the row (both from 0)."""
    bad = first_bad(array, levels)
    if bad is None:
        return
    value = array[bad]
    if array.dtype.kind in "iu" and value < 0:
        reason = (
            f"{value} is negative, but integers are levels 0..levels-1; "
            "save the array as floating point if its values are real-valued data"
        )
    else:
        reason = why_bad(float(value), levels)
    place = bad[1] if len(bad) == 2 else bad[1:]
    raise DataError(f"{where}: row {offset + bad[0]}, column {place} (from 0): {reason}.")


def check_in_blocks(array, levels, where):
    """`check` of a long, perhaps memory-mapped array, some 32 MB at a time. Returns the largest value."""
    block = max(1, 2**25 // max(1, array[:1].nbytes))
    largest = 0
    for start in range(0, len(array), block):
        rows = array[start : start + block]
        check(rows, levels, where, offset=start)
        largest = max(largest, rows.max())
    return largest


def to_dtype(array, levels):
    """float32 for real values, int32 for levels."""
    return array.astype(np.float32 if levels is None else np.int32, copy=False)
