"""Parquet tables of numeric columns, read a record batch at a time."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from tfdgm.data import values
from tfdgm.data.columns import Columns, printable
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

_BATCH_ROWS = 2**15


def columns(path: str | os.PathLike, reading: Reading = PLAIN) -> Columns:
    """The columns of a table. Those that its metadata of pandas call an index are one."""
    import pyarrow

    with _open(path) as file:
        schema = file.schema_arrow
    if not schema.names:
        raise DataError(f"{path} has no columns.")
    kinds = pyarrow.types
    is_number = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal)
    no_numbers = {i: str(field.type) for i, field in enumerate(schema) if not any(is_kind(field.type) for is_kind in is_number)}
    index = {
        i: f"column {printable(name)!r} is the index of a table of pandas, and left out; keep (--columns) reads it."
        for i, name in enumerate(schema.names)
        if name in _index_names(schema)
    }
    names = [printable(name) for name in schema.names]
    return Columns(names, len(names), str(path), index if len(index) < len(names) else {}, no_numbers)


def _index_names(schema):
    """The columns that are an index; an index that is a range is none."""
    try:
        return [name for name in schema.pandas_metadata["index_columns"] if isinstance(name, str)]
    except (ValueError, TypeError, KeyError):  # No metadata, or others.
        return []


def integer_columns(path: str | os.PathLike, take: Sequence[int], reading: Reading = PLAIN) -> list[int]:
    """Which of the columns `take` hold integers: their places in `take`."""
    import pyarrow

    with _open(path) as file:
        kinds = [file.schema_arrow.field(i).type for i in take]
    is_integer = pyarrow.types.is_integer
    return [j for j, kind in enumerate(kinds) if is_integer(kind) or (pyarrow.types.is_decimal(kind) and kind.scale == 0)]


def chunks(
    path: str | os.PathLike,
    take: Sequence[int],
    levels: int | None,
    dtype: str,
    real: Collection[int] = (),
    reading: Reading = PLAIN,
) -> Iterator[np.ndarray]:
    """Yields the columns `take` as float64 arrays [k, len(take)]; every value is checked, and an error names the row (from 0).

    With `levels` all are levels but those at the places `real` of `take`. Real values must be in the range of `dtype`.
    """
    import pyarrow

    offset = 0
    with _open(path) as file:
        names = file.schema_arrow.names
        wanted = {names[i] for i in take}
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=sorted(wanted)):
                x = np.empty((batch.num_rows, len(take)), np.float64)
                for j, i in enumerate(take):
                    # The batch has the columns of these names in the file's order, one for each that shares a name.
                    of_name = [k for k, name in enumerate(batch.schema.names) if name == names[i]]
                    column = batch.column(of_name[names[:i].count(names[i])])
                    x[:, j] = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
                values.check(x, levels, dtype, path, offset, real, take)
                offset += len(x)
                if len(x):
                    yield x
        except (pyarrow.ArrowException, OSError) as e:
            raise DataError(f"{path} is damaged: {_line(e)}") from None
    if not offset:
        raise DataError(f"{path} has columns but no rows.")


@contextlib.contextmanager
def _open(path):
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as e:
        raise DataError(f"{path} is damaged, or not parquet: {_line(e)}") from None
    with file:
        yield file


def _line(error):
    return str(error).strip().splitlines()[0]
