"""Rows of tables: csv and parquet."""

import glob
import os
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data import cache, csv_files, parquet_files, values
from tfdgm.data.columns import Layout, check_same, layout
from tfdgm.data.content import Part
from tfdgm.data.reading import Reading

#: What reads the files of a suffix.
READERS = dict.fromkeys((".csv", ".csv.gz", ".tsv", ".tsv.gz"), csv_files) | {".parquet": parquet_files}


def suffix_of(path: str | os.PathLike) -> str:
    """The suffix that tells what a file is, in lower case: ".csv.gz" of a compressed csv."""
    inner, suffix = os.path.splitext(os.fspath(path).lower())
    return os.path.splitext(inner)[1] + suffix if suffix == ".gz" else suffix


def layouts(
    paths: Sequence[str], condition: str | Sequence[str] | None, columns: Sequence[str] | None, reading: Reading
) -> list[Layout]:
    """The layout of each of several tables, whose columns must be the same. `columns` are the names of x in training."""
    found = []
    for path in paths:
        described = READERS[suffix_of(path)].columns(path, reading)
        found.append(layout(path, described, condition, columns, reading))
    check_same(found)
    return found


def read(
    paths: Sequence[str],
    levels: int | None,
    condition: str | Sequence[str] | None,
    dtype: str,
    columns: Sequence[str] | None,
    reading: Reading,
) -> tuple[Part, tuple[str, ...] | None]:
    """All rows, copied into a temporary memory map, and the names of the columns that are x."""
    found = layouts(paths, condition, columns, reading)
    width = len(found[0].x)
    blocks = (x for _, x in rows(found, levels, dtype, reading))
    if not found[0].condition:
        return Part(cache.spool(values.to_dtype(x, levels, dtype) for x in blocks)), found[0].names
    # One pass over the text. float32 does not keep all levels, and not every condition is an integer.
    table = cache.spool(values.to_dtype(x, None, dtype if levels is None else "float64") for x in blocks)
    parts = (table[i : i + 2**16, :width] for i in range(0, len(table), 2**16))
    x = cache.spool(values.to_dtype(part, levels, dtype) for part in parts)
    return Part(x, np.ascontiguousarray(table[:, width:], dtype)), found[0].names


def rows(found: Sequence[Layout], levels: int | None, dtype: str, reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (path, checked float64 rows [k, columns]) of tables, x and after it the condition.

    Warns once of what is left out, and where `dtype` does not keep an integer.
    """
    told, told_of_rounding = set(), False
    for of in found:
        for note in of.notes:
            if note not in told:
                warnings.warn(f"{of.path}: {note}", stacklevel=2)
                told.add(note)
        reader, take, integers = READERS[suffix_of(of.path)], of.x + of.condition, None
        condition = range(len(of.x), len(take))
        for x in reader.chunks(of.path, take, levels, dtype, condition, reading):
            if not told_of_rounding and np.abs(x).max() > 2**24:
                integers = reader.integer_columns(of.path, take, reading) if integers is None else integers
                for j in integers if levels is None else set(integers) & set(condition):
                    rounded = values.first_rounded(x[:, j], dtype)
                    if rounded is not None and not told_of_rounding:
                        warn_of_rounding(f"{of.path}, {of.columns.label(take[j])}", rounded, dtype)
                        told_of_rounding = True
            yield of.path, x


def warn_of_rounding(where: str, integer: float, dtype: str) -> None:
    """Says that an integer is not kept as `dtype`."""
    keeps = "; float64 keeps those up to 2**53: dtype='float64', in a run [model] dtype" if dtype == "float32" else ""
    largest = "2**24" if dtype == "float32" else "2**53"
    warnings.warn(f"{where}: {dtype} rounds integers above {largest}, such as {int(integer)}{keeps}.", stacklevel=2)


def warn_of_partitions(source: str | os.PathLike, paths: Sequence[str]) -> None:
    """Says that folders named `column=value`, as Hive and Spark write them, are no columns here."""
    if suffix_of(paths[0]) not in READERS:
        return
    top = pathlib.Path(os.path.expanduser(source))
    while glob.has_magic(os.fspath(top)):
        top = top.parent
    named = {part: None for path in paths for part in pathlib.Path(path).relative_to(top).parent.parts if "=" in part}
    if named:
        columns = ", ".join(dict.fromkeys(part.split("=")[0] for part in named))
        warnings.warn(
            f"{source}: what folders are named after is no column, and left out: {columns}, as in {next(iter(named))}.",
            stacklevel=2,
        )
