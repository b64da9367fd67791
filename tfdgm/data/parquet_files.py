"""Parquet tables of numeric columns, read a record batch at a time."""

import contextlib
import os
from collections.abc import Collection, Iterator

import numpy as np

from tfdgm.data import values
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

_BATCH_ROWS = 2**15


def columns(path: str | os.PathLike, reading: Reading = PLAIN) -> tuple[list[str], int]:
    """The columns' names, and their number. All must be numeric."""
    import pyarrow

    with _open(path) as file:
        schema = file.schema_arrow
    kinds = pyarrow.types
    for field in schema:
        if not (kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_boolean(field.type)):
            raise DataError(f"{path}, column {field.name!r}: expected numbers. Received: {field.type}.")
    if not schema.names:
        raise DataError(f"{path} has no columns.")
    return list(schema.names), len(schema.names)


def integer_columns(path: str | os.PathLike, reading: Reading = PLAIN) -> list[int]:
    """The numbers of the columns of integers."""
    import pyarrow

    with _open(path) as file:
        return [i for i, field in enumerate(file.schema_arrow) if pyarrow.types.is_integer(field.type)]


def chunks(
    path: str | os.PathLike, levels: int | None, dtype: str, real: Collection[int] = (), reading: Reading = PLAIN
) -> Iterator[np.ndarray]:
    """Yields float64 arrays [k, columns]; every value is checked, and an error names the row (from 0).

    With `levels` all are levels but the columns `real`. Real values must be in the range of `dtype`.
    """
    import pyarrow

    _, width = columns(path, reading)
    offset = 0
    with _open(path) as file:
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                x = np.empty((batch.num_rows, width), np.float64)
                for i, column in enumerate(batch.columns):
                    x[:, i] = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
                values.check(x, levels, dtype, path, offset, real)
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
