"""The rows of files, globs and folders."""

import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data import cache, finding, image_files, numpy_files, tables, values
from tfdgm.data.content import Content, Part
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading
from tfdgm.unknown_name import unknown_name


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
    if not other_kinds and kind in tables.READERS:
        tables.layouts(all_paths, condition, columns, reading)

    tables.warn_of_partitions(source, all_paths)
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
    tables.warn_of_partitions(source, [path for files in found.values() for path in files.paths])
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
    elif kind in tables.READERS:
        yield from tables.rows(tables.layouts(paths, None, columns, reading), levels, dtype, reading)
    elif kind == ".npz":
        for path in paths:
            offset = 0
            for block in numpy_files.npz_blocks(path, split):
                values.check(block, levels, dtype, path, offset)
                offset += len(block)
                yield path, block
    else:
        for path in paths:
            x = numpy_files.load_npy(path)
            step = max(1, 2**24 // max(1, x[:1].nbytes))
            for start in range(0, len(x), step):
                block = np.asarray(x[start : start + step])
                values.check(block, levels, dtype, path, offset=start)
                yield path, block


def _read_one(found, levels, condition, dtype, columns, reading, classes):
    """{split: Part} or {"all": Part}, and the names of the columns that are x, None where there are none."""
    kind, paths = found.kind, found.paths
    if kind in tables.READERS:
        part, names = tables.read(paths, levels, condition, dtype, columns, reading)
        return {"all": part}, names
    if kind == ".npz" and len(paths) == 1:
        arrays, given = numpy_files.load_npz(paths[0], condition)
        if given is not None:
            where = f"{paths[0]}, array {condition!r}"
            values.check(given.astype(np.float64), None, dtype, where)
            if given.dtype.kind in "iu" and (rounded := values.first_rounded(given.ravel(), dtype)) is not None:
                tables.warn_of_rounding(where, rounded, dtype)
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
