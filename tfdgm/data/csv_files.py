"""Comma-separated numbers, read by pyarrow a few megabytes at a time."""

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from tfdgm.data import values
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

_BLOCK_BYTES = 4 * 2**20


def columns(path: str | os.PathLike, reading: Reading = PLAIN) -> tuple[list[str] | None, int]:
    """The header's names, or None where the first line is numbers already; and the number of columns.

    A header is a first line without a single number in it.
    """
    names, width, _ = _head(path, reading)
    return names, width


def _head(path, reading):
    """`columns`, and the number of lines that come before the first row."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        try:
            cells = next((c for c in reader if len(c) > 1 or any(cell.strip() for cell in c)), None)
        except csv.Error as e:
            raise DataError(f"{path}, line {reader.line_num}: {e}.") from None
    if cells is None:
        raise DataError(f"{path} is empty.")
    is_number = [_number(c) is not None for c in cells]
    if all(is_number):
        return None, len(cells), 0
    if any(is_number):
        place = is_number.index(False)
        raise DataError(
            f"{path}, line {reader.line_num}, column {place + 1}: {cells[place]!r} is not a number. "
            "The first line must be numbers throughout, or names throughout."
        )
    return [c.strip() for c in cells], len(cells), reader.line_num


def header(names: Sequence[str] | None) -> bytes:
    """The line of names that `columns` reads, as bytes; nothing where a name is a number, which it would take for a row."""
    if not names or any(_number(name) is not None for name in names):
        return b""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def integer_columns(path: str | os.PathLike, reading: Reading = PLAIN) -> list[int]:
    """The numbers of the columns whose first value is written as an integer."""
    _, _, skip = _head(path, reading)
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        cells = next((c for c in reader if reader.line_num > skip and any(cell.strip() for cell in c)), [])
    return [i for i, cell in enumerate(cells) if re.fullmatch(r"[+-]?\d+", cell.strip())]


def number_format(dtype: DTypeLike) -> str:
    """The format of `%` that writes numbers of a dtype so that they are read back as they were."""
    if np.dtype(dtype).kind in "iub":
        return "%d"
    return "%.17g" if np.dtype(dtype).itemsize > 4 else "%.9g"


def chunks(
    path: str | os.PathLike, levels: int | None, dtype: str, real: Collection[int] = (), reading: Reading = PLAIN
) -> Iterator[np.ndarray]:
    """Yields float64 arrays [k, columns]; every value is checked, and an error names the line (from 1).

    With `levels` all are levels but the columns `real`. Real values must be in the range of `dtype`.
    """
    import pyarrow
    import pyarrow.csv

    names, width, skip = _head(path, reading)
    keys = [str(i) for i in range(width)]
    empty = True
    try:
        # The header is skipped, not used for names: it may hold a name twice.
        reader = pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=keys, skip_rows=skip),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(keys, pyarrow.float64()), null_values=[]),
        )
        for batch in reader:
            x = np.empty((batch.num_rows, width), np.float64)
            for i, column in enumerate(batch.columns):
                x[:, i] = column.to_numpy(zero_copy_only=False)
            if len(x):
                empty = False
                if values.first_bad(x, levels, dtype, real) is not None:
                    raise _first_error(path, names, width, levels, dtype, real, "a value that is no data")
                yield x
    except (pyarrow.ArrowException, UnicodeDecodeError) as e:
        raise _first_error(path, names, width, levels, dtype, real, str(e)) from None
    if empty:
        raise _first_error(path, names, width, levels, dtype, real, "no rows")


def _first_error(path, names, width, levels, dtype, real, otherwise):
    """Reads the file line by line, slowly, to name the first thing wrong in it."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        header, empty = names is not None, True
        try:
            for cells in reader:
                if not cells or (width > 1 and not any(c.strip() for c in cells) and len(cells) == 1):
                    continue
                if header:
                    header = False
                    continue
                empty = False
                where = f"{path}, line {reader.line_num}"
                if len(cells) != width:
                    return DataError(f"{where}: expected {width} columns as in the first line. Received: {len(cells)}.")
                for i, cell in enumerate(cells):
                    number = _number(cell)
                    name = f" ({names[i]})" if names else ""
                    if number is None:
                        what = "an empty cell" if not cell.strip() else f"{cell[:40]!r}, not a number"
                        return DataError(f"{where}, column {i + 1}{name}: expected a number. Received: {what}.")
                    reason = values.why_bad(number, None if i in real else levels, dtype)
                    if reason:
                        return DataError(f"{where}, column {i + 1}{name}: {reason}.")
        except csv.Error as e:
            return DataError(f"{path}, line {reader.line_num}: {e}.")
    if empty:
        return DataError(f"{path} has a header but no rows.")
    return DataError(f"{path} cannot be read as comma-separated numbers: {otherwise}.")


def _number(cell):
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
