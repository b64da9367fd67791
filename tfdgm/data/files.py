"""The rows of files, globs and folders."""

import os
import pathlib
import textwrap
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data import cache, csv_files, finding, image_files, numpy_files, parquet_files, values
from tfdgm.data.content import Content, Part
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading
from tfdgm.unknown_name import unknown_name

TABLES = {".csv": csv_files, ".parquet": parquet_files}


def read(
    source: str | os.PathLike,
    levels: int | None = None,
    condition: str | Sequence[str] | None = None,
    dtype: str = "float32",
    columns: Sequence[str] | None = None,
    reading: Reading = PLAIN,
    classes: Sequence[str] | None = None,
) -> Content:
    """The `Content` of a file, a glob or a folder.

    Tables and images are copied once, in blocks, into a temporary memory map (`cache.spool`), so memory stays
    bounded, every value is checked before training begins, and shuffling is over all rows. Of a table, real values
    become `dtype` there, and levels int32. A .npy file is itself the memory map.
    """
    files_of = finding.find_splits(source)
    classes = _classes(source, files_of, condition, classes)
    parts, all_paths, names = {}, [], None
    for split, files in files_of.items():
        all_paths += files.paths
        found, names_here = _read_one(files, levels, condition, dtype, columns or names, reading, classes)
        names = names or names_here
        for key, part in found.items():
            if key != "all" and split != "all":
                raise DataError(f"{files.paths[0]}: has splits of its own inside the split {split!r} of {source}.")
            parts[split if key == "all" else key] = part
    shapes = {split: part.x.shape[1:] for split, part in parts.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{source}: all splits must have rows of one shape. Received: {shapes}.")
    if len({part.x.dtype.kind in "iub" for part in parts.values()}) > 1:
        raise DataError(
            f"{source}: all splits must be integers, or none. "
            f"Received: { ({split: str(part.x.dtype) for split, part in parts.items()}) }."
        )
    kind, *other_kinds = {files.kind: None for files in files_of.values()}
    if not other_kinds and kind in TABLES:
        _same_columns(all_paths, TABLES[kind], reading)

    largest = max(values.check_in_blocks(part.x, levels, dtype, f"{source}") for part in parts.values())
    if levels is None:
        if kind == "images":
            levels = 256
        elif parts[next(iter(parts))].x.dtype.kind in "iub":
            levels = max(2, int(largest) + 1)
    kinds = f"{kind} file{'s' if len(all_paths) > 1 else ''}" if kind != "images" else kind if len(all_paths) > 1 else "image"
    what = f"{len(all_paths)} {kinds}"
    return Content(os.fspath(source), parts, levels, cache.sha256_of(all_paths), f"Rows of {what}: {source}", names, classes)


def paths_of(source: str | os.PathLike) -> list[pathlib.Path]:
    """The files of a source, those of all its splits."""
    return [pathlib.Path(path) for found in finding.find_splits(source).values() for path in found.paths]


def blocks(
    source: str | os.PathLike,
    levels: int | None = None,
    split: str | None = None,
    dtype: str = "float32",
    columns: Sequence[str] | None = None,
    reading: Reading = PLAIN,
) -> Iterator[np.ndarray]:
    """Yields all rows of a file, glob or folder in order: checked arrays [k, *event_shape] of `dtype`, or int32 for levels.

    `split` keeps one split of a source that has its own. Looks for the files at once, reads as it goes.
    """
    found = finding.find_splits(source)
    if split is not None and "all" not in found:
        if split not in found:
            raise DataError(f"{source} has no split {split!r}. It has: {', '.join(found)}.")
        found, split = {split: found[split]}, None
    kinds = {files.kind: files.paths[0] for files in found.values()}
    if len(kinds) > 1:
        raise DataError(f"{source}: expected files of one kind. Received: {' and '.join(kinds.values())}.")
    return _blocks(*kinds, [p for files in found.values() for p in files.paths], levels, split, dtype, columns, reading)


def _blocks(kind, paths, levels, split, dtype, columns, reading):
    first = None
    for path, x in _chunks(kind, paths, levels, split, dtype, columns, reading):
        x = values.to_dtype(x, 0 if x.dtype.kind in "iub" else levels, dtype)
        what = f"{x.dtype} {x.shape[1:]}"
        first = first or what
        if what != first:
            raise DataError(f"{path}: expected rows of {first} as in {paths[0]}. Received: {what}.")
        yield x


def _chunks(kind, paths, levels, split, dtype, columns, reading):
    """Yields (path, checked array [k, *event_shape])."""
    if split is not None and kind != ".npz":
        raise DataError(f"{paths[0]} has no splits of its own. Received: split={split!r}; `load` divides it.")
    if kind == "images":
        yield from ((paths[0], x) for x in image_files.chunks(paths, reading))
    elif kind in TABLES:
        of_x, _, _ = _layout(paths, TABLES[kind], None, columns, reading)
        yield from ((path, _taken(x, of_x)) for path, x in _table_rows(paths, TABLES[kind], levels, dtype, reading))
    else:
        for path in paths:
            arrays = {"all": numpy_files.load_npy(path)} if kind == ".npy" else numpy_files.load_npz(path)[0]
            if split is not None:
                if split not in arrays:
                    raise DataError(f"{path} has no split {split!r}. Leave it out to read all rows.")
                arrays = {split: arrays[split]}
            for x in arrays.values():
                step = max(1, 2**24 // max(1, x[:1].nbytes))
                for start in range(0, len(x), step):
                    block = np.asarray(x[start : start + step])
                    values.check(block, levels, dtype, path, offset=start)
                    yield path, block


def _read_one(found, levels, condition, dtype, columns, reading, classes):
    """{split: Part} or {"all": Part}, and the names of the columns that are x, None where there are none."""
    kind, paths = found.kind, found.paths
    if kind in TABLES:
        return _read_tables(paths, TABLES[kind], levels, condition, dtype, columns, reading)
    if kind == ".npz" and len(paths) == 1:
        arrays, given = numpy_files.load_npz(paths[0], condition)
        if given is not None:
            where = f"{paths[0]}, array {condition!r}"
            values.check(given.astype(np.float64), None, dtype, where)
            if given.dtype.kind in "iu" and (rounded := values.first_rounded(given.ravel(), dtype)) is not None:
                _warn_of_rounding(where, rounded, dtype)
            given = given.astype(dtype)
        return {split: Part(x, given) for split, x in arrays.items()}, None
    if kind == "images":  # Kept as bytes.
        label = None if classes is None else np.eye(len(classes), dtype=dtype)[[classes.index(name) for name in found.classes]]
        return {"all": Part(cache.spool(image_files.chunks(paths, reading)), label)}, None
    if condition is not None:
        raise DataError(
            f"{paths[0]}: a condition is read from a column of a table or an array of one .npz file. "
            f"Received: condition={condition!r} with {len(paths)} {kind} files."
        )
    if kind == ".npy" and len(paths) == 1:
        return {"all": Part(numpy_files.load_npy(paths[0]))}, None
    return {"all": Part(cache.spool(_blocks(kind, paths, levels, None, dtype, None, reading)))}, None


def _classes(source, files_of, condition, expected):
    """The names of images' classes where their folders are the condition, else None. `expected` are those of training."""
    if condition is None or any(files.kind != "images" for files in files_of.values()):
        return None
    if condition != "label":
        raise DataError(f"{source}: images have the condition 'label', the name of their folder. Received: {condition!r}.")
    for files in files_of.values():
        if "" in files.classes:
            outside = files.paths[files.classes.index("")]
            raise DataError(f"{outside} lies in no class's folder. Expected: {source}/CLASS/{pathlib.Path(outside).name}.")
    classes = tuple(expected or sorted(set(next(iter(files_of.values())).classes)))  # Of train, where there are splits.
    if len(classes) < 2:
        raise DataError(f"{source}: expected two folders at least, one for each class. Received: {classes[0]}.")
    for files in files_of.values():
        for path, name in zip(files.paths, files.classes, strict=True):
            if name not in classes:
                raise DataError(f"{path}: {unknown_name('class', name, classes)}")
    return classes


def _read_tables(paths, reader, levels, condition, dtype, columns, reading):
    of_x, given, names = _layout(paths, reader, condition, columns, reading)
    rows = (x for _, x in _table_rows(paths, reader, levels, dtype, reading, real=given))
    if not given:
        return {"all": Part(cache.spool(values.to_dtype(_taken(x, of_x), levels, dtype) for x in rows))}, names
    # One pass over the text. float32 does not keep all levels, and not every condition is an integer.
    table = cache.spool(values.to_dtype(x, None, dtype if levels is None else "float64") for x in rows)
    parts = (table[i : i + 2**16][:, of_x] for i in range(0, len(table), 2**16))
    x = cache.spool(values.to_dtype(part, levels, dtype) for part in parts)
    return {"all": Part(x, np.ascontiguousarray(table[:, given], dtype))}, names


def _table_rows(paths, reader, levels, dtype, reading, real=()):
    """Yields (path, checked float64 rows [k, columns]) of tables; warns once where `dtype` does not keep an integer."""
    names, _ = reader.columns(paths[0], reading)
    told = False
    for path in paths:
        integers = None
        for x in reader.chunks(path, levels, dtype, real, reading):
            if not told and np.abs(x).max() > 2**24:
                integers = reader.integer_columns(path, reading) if integers is None else integers
                for i in integers if levels is None else set(integers) & set(real):
                    rounded = values.first_rounded(x[:, i], dtype)
                    if rounded is not None and not told:
                        _warn_of_rounding(f"{path}, column {i + 1}{f' ({names[i]})' if names else ''}", rounded, dtype)
                        told = True
            yield path, x


def _taken(x, columns):
    return x if columns == list(range(x.shape[1])) else x[:, columns]


def _warn_of_rounding(where, integer, dtype):
    keeps = "; float64 keeps those up to 2**53: dtype='float64', in a run [model] dtype" if dtype == "float32" else ""
    largest = "2**24" if dtype == "float32" else "2**53"
    warnings.warn(f"{where}: {dtype} rounds integers above {largest}, such as {int(integer)}{keeps}.", stacklevel=2)


def _layout(paths, reader, condition, columns, reading):
    """Of tables: the numbers of the columns that are x, in the order of `columns`; of those that are the condition; and the names
    of the former, None where there are none."""
    names, width = _same_columns(paths, reader, reading)
    wanted = [condition] if isinstance(condition, str) else list(condition or ())
    missing = [c for c in wanted if names is None or c not in names]
    if missing:
        raise DataError(
            f"{paths[0]} has no column {missing[0]!r} for the condition. It has: "
            f"{', '.join(names) if names else f'{width} columns without names'}."
        )
    given = [names.index(c) for c in wanted]
    of_x = [i for i in range(width) if i not in given]
    if not of_x:
        raise DataError(f"{paths[0]}: no column is left beside the condition {', '.join(wanted)}.")
    if names is None:
        return of_x, given, None
    here = [names[i] for i in of_x]
    of_x = [of_x[i] for i in _order(paths[0], here, columns or here)]
    return of_x, given, tuple(names[i] for i in of_x)


def _order(path, here, expected):
    """Where each of the names `expected` stands in `here`; each place itself where no name is known."""
    in_place = list(range(len(here)))
    if here == list(expected):
        return in_place
    what = f"Expected: {_listed(expected)}. Received: {_listed(here)}."
    if not set(here) & set(expected):
        if len(here) == len(expected):
            warnings.warn(f"{path} has other names of columns, which are taken by their places. {what}", stacklevel=2)
        return in_place
    for name in expected:
        if name not in here:
            raise DataError(f"{path} has no column {name!r}. {what}")
    for name in here:
        if name not in expected:
            raise DataError(f"{path} has a column {name!r}, which is not expected. {what}")
    if len(set(here)) < len(here) or len(here) != len(expected):
        raise DataError(f"{path}: columns that share a name cannot be put in order by it. {what}")
    return [here.index(name) for name in expected]


def _listed(names):
    return textwrap.shorten(", ".join(names), 200, placeholder=" ...")


def _same_columns(paths, reader, reading):
    """The columns of the first file; raises where another file's differ."""
    names, width = reader.columns(paths[0], reading)
    for path in paths[1:]:
        more, more_width = reader.columns(path, reading)
        if more_width != width:
            raise DataError(f"{path}: expected {width} columns as in {paths[0]}. Received: {more_width}.")
        if names and more and names != more:
            place = next(i for i in range(width) if names[i] != more[i])
            raise DataError(
                f"{path}: expected column {place + 1} to be {names[place]!r} as in {paths[0]}. Received: {more[place]!r}."
            )
    return names, width
