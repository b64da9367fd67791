"""Delimited numbers, read by pyarrow a few megabytes at a time."""

import contextlib
import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from tfdgm.data import values
from tfdgm.data.columns import Columns, printable
from tfdgm.data.csv_dialect import dialect_of, number, opened, text_of, wrong_encoding
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

_BLOCK_BYTES = 4 * 2**20


def columns(path: str | os.PathLike, reading: Reading = PLAIN) -> Columns:
    """The columns of a csv. Its first line is a header where it holds no number, or 0, 1, 2, ..., as pandas writes.

    A first column without a name, or one of integers that pandas has named, is the index of a table of pandas.
    """
    dialect = dialect_of(path, reading)
    names, rows = dialect.names, [row for row in dialect.rows if len(row) == dialect.width]
    index, no_numbers = {}, {}
    for i in range(dialect.width):
        cells = [row[i].strip() for row in rows]
        filled = [cell for cell in cells if cell]
        if names and dialect.width > 1 and _is_index(i, names[i], cells):
            index[i] = f"the first column, {names[i]!r}, is taken for an index, and left out; keep (--columns) reads it."
        elif names and dialect.width > 1 and not names[i] and not filled:
            index[i] = f"column {i + 1} has neither a name nor values, and is left out."
        if filled and all(number(cell, dialect.decimal) is None for cell in filled):
            no_numbers[i] = f"{printable(filled[0][:40])!r}, not a number"
    return Columns(names, dialect.width, f"{path}, line {dialect.skip + 1}", index, no_numbers, dialect.notes)


def _is_index(i, name, cells):
    return i == 0 and (not name or (name == "Unnamed: 0" and all(re.fullmatch(r"\d+", cell) for cell in cells)))


def header(names: Sequence[str] | None) -> bytes:
    """The line of names that `columns` reads, as bytes; nothing where a name is a number, which it would take for a row."""
    if not names or any(number(name) is not None for name in names):
        return b""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def integer_columns(path: str | os.PathLike, take: Sequence[int], reading: Reading = PLAIN) -> list[int]:
    """Which of the columns `take` have a first value that is written as an integer: their places in `take`."""
    row = next((row for row in dialect_of(path, reading).rows if any(cell.strip() for cell in row)), [])
    return [j for j, i in enumerate(take) if i < len(row) and re.fullmatch(r"[+-]?\d+", row[i].strip())]


def number_format(dtype: DTypeLike) -> str:
    """The format of `%` that writes numbers of a dtype so that they are read back as they were."""
    if np.dtype(dtype).kind in "iub":
        return "%d"
    return "%.17g" if np.dtype(dtype).itemsize > 4 else "%.9g"


def chunks(
    path: str | os.PathLike,
    take: Sequence[int],
    levels: int | None,
    dtype: str,
    real: Collection[int] = (),
    reading: Reading = PLAIN,
) -> Iterator[np.ndarray]:
    """Yields the columns `take` as float64 arrays [k, len(take)]; every value is checked, and an error names the line (from 1).

    With `levels` all are levels but those at the places `real` of `take`. Real values must be in the range of `dtype`.
    """
    import pyarrow

    dialect, empty = dialect_of(path, reading), True
    of_value = {i: None if j in real else levels for j, i in enumerate(take)}
    try:
        for x in _arrays(path, dialect, take):
            if len(x):
                empty = False
                if values.first_bad(x, levels, dtype, real) is not None:
                    raise _first_error(path, dialect, of_value, dtype, "a value that is no data")
                yield x
    except UnicodeError as e:
        raise DataError(wrong_encoding(path, dialect.encoding, e)) from None
    except (pyarrow.ArrowException, OSError, _NoNumber) as e:
        raise _first_error(path, dialect, of_value, dtype, str(e)) from None
    if empty:
        raise _first_error(path, dialect, of_value, dtype, "no rows")


class _NoNumber(Exception):
    pass


def _arrays(path, dialect, take):
    import pyarrow

    done = 0
    with contextlib.suppress(pyarrow.ArrowInvalid):
        for batch in _batches(path, dialect, take, pyarrow.float64()):
            yield _filled(batch, lambda column: column.to_numpy(zero_copy_only=False))
            done += batch.num_rows
        return
    # Some cells are no numbers to pyarrow: True, 1.234,5, a no-break space. From there on they are read as text, slowly.
    for batch in _batches(path, dialect, take, pyarrow.string()):
        new = batch.slice(min(done, batch.num_rows))
        done -= batch.num_rows - new.num_rows
        yield _filled(new, lambda column: _numbers(column, dialect.decimal))


def _batches(path, dialect, take, kind):
    import pyarrow.csv

    keys = [str(i) for i in range(dialect.width)]  # A header may hold a name twice.
    taken = [keys[i] for i in take]
    with opened(path, dialect.compression) as stream:
        yield from pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(
                block_size=_BLOCK_BYTES,
                column_names=keys,
                skip_rows=dialect.skip,
                encoding=dialect.encoding.removesuffix("-sig"),  # pyarrow skips the mark itself.
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                newlines_in_values=True,
                invalid_row_handler=lambda row: "skip" if row.text and not row.text.strip() else "error",
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(taken, kind),
                include_columns=taken,
                null_values=[],
                decimal_point=dialect.decimal or ".",
            ),
        )


def _filled(batch, read):
    x = np.empty((batch.num_rows, batch.num_columns), np.float64)
    for j, column in enumerate(batch.columns):
        x[:, j] = read(column)
    return x


def _numbers(column, decimal):
    import pyarrow
    import pyarrow.compute

    if decimal != ",":
        with contextlib.suppress(pyarrow.ArrowInvalid):
            return pyarrow.compute.cast(pyarrow.compute.utf8_trim_whitespace(column), pyarrow.float64())
    numbers = [number(cell, decimal) for cell in column.to_pylist()]
    if None in numbers:
        raise _NoNumber("a cell that is no number")
    return numbers


def _first_error(path, dialect, of_value, dtype, otherwise):
    """Reads the file line by line, slowly, to name the first thing wrong in it. `of_value` has the levels of each column."""
    empty = True
    with text_of(path, dialect.compression, dialect.encoding, "replace") as text:
        reader = csv.reader(text, delimiter=dialect.delimiter)
        try:
            for cells in reader:
                if reader.line_num <= dialect.skip or not cells or (len(cells) == 1 < dialect.width and not cells[0].strip()):
                    continue
                empty = False
                where = f"{path}, line {reader.line_num}"
                if len(cells) != dialect.width:
                    shown = "" if dialect.delimiter == "," else f", divided by {dialect.delimiter!r} (--delimiter)"
                    if dialect.width == 1 and dialect.delimiter == ",":
                        shown = "; --decimal=, takes commas for decimals"
                    return DataError(
                        f"{where}: expected {dialect.width} columns as in the first line{shown}. Received: {len(cells)}."
                    )
                for i, levels in sorted(of_value.items()):
                    value = number(cells[i], dialect.decimal)
                    name = f" ({dialect.names[i]})" if dialect.names else ""
                    if value is None:
                        return DataError(
                            f"{where}, column {i + 1}{name}: expected a number. Received: {_what(cells[i], dialect)}."
                        )
                    reason = values.why_bad(value, levels, dtype)
                    if reason:
                        return DataError(f"{where}, column {i + 1}{name}: {reason}.")
        except (csv.Error, OSError) as e:
            return DataError(f"{path}, line {reader.line_num}: {e}.")
    if empty:
        return DataError(f"{path} has a header but no rows.")
    return DataError(f"{path} cannot be read as numbers divided by {dialect.delimiter!r}: {otherwise}.")


def _what(cell, dialect):
    if not cell.strip():
        return "an empty cell"
    ways = [f"--decimal={other}" for other in ".," if number(cell, other) is not None]
    way_out = f"; {' or '.join(ways)} reads it" if ways else ""
    if "\ufffd" in cell:
        way_out = f", in {dialect.encoding.upper()} (--encoding)"
    return f"{printable(cell[:40])!r}, not a number{way_out}"
