"""Files, globs and folders: what they are, and their rows."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfdgm.data import cache, csv_files, image_files, numpy_files, tables, values
from tfdgm.data.content import Content, Part
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import PLAIN, Reading

ARRAYS = (".npy", ".npz")
SUFFIXES = (*tables.READERS, *ARRAYS, *image_files.SUFFIXES)

_SPLIT_NAMES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}


def read(
    source: str | os.PathLike,
    levels: int | None = None,
    condition: str | Sequence[str] | None = None,
    dtype: str = "float32",
    columns: Sequence[str] | None = None,
    reading: Reading = PLAIN,
) -> Content:
    """The `Content` of a file, a glob or a folder.

    Tables and images are copied once, in blocks, into a temporary memory map (`cache.spool`), so memory stays
    bounded, every value is checked before training begins, and shuffling is over all rows. Of a table, real values
    become `dtype` there, and levels int32. A .npy file is itself the memory map.
    """
    parts, all_paths, names = {}, [], None
    for split, paths in _find_splits(source).items():
        all_paths += paths
        found, names_here = _read_one(paths, levels, condition, dtype, columns or names, reading)
        names = names or names_here
        for key, part in found.items():
            if key != "all" and split != "all":
                raise DataError(f"{paths[0]}: has splits of its own inside the split {split!r} of {source}.")
            parts[split if key == "all" else key] = part
    shapes = {split: part.x.shape[1:] for split, part in parts.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{source}: all splits must have rows of one shape. Received: {shapes}.")
    if len({part.x.dtype.kind in "iub" for part in parts.values()}) > 1:
        raise DataError(
            f"{source}: all splits must be integers, or none. "
            f"Received: { ({split: str(part.x.dtype) for split, part in parts.items()}) }."
        )
    if len({_kind([path]) for path in all_paths}) == 1 and _kind(all_paths) in tables.READERS:
        tables.layouts(all_paths, condition, columns, reading)

    tables.warn_of_partitions(source, all_paths)
    largest = max(values.check_in_blocks(part.x, levels, dtype, f"{source}") for part in parts.values())
    kind = _kind(all_paths)
    if levels is None:
        if kind == "images":
            levels = 256
        elif parts[next(iter(parts))].x.dtype.kind in "iub":
            levels = max(2, int(largest) + 1)
    kinds = f"{kind} file{'s' if len(all_paths) > 1 else ''}" if kind != "images" else kind if len(all_paths) > 1 else "image"
    what = f"{len(all_paths)} {kinds}"
    return Content(os.fspath(source), parts, levels, cache.sha256_of(all_paths), f"Rows of {what}: {source}", names)


def paths_of(source: str | os.PathLike) -> list[pathlib.Path]:
    """The files of a source, those of all its splits."""
    return [path for paths in _find_splits(source).values() for path in paths]


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
    found = _find_splits(source)
    tables.warn_of_partitions(source, [path for paths in found.values() for path in paths])
    if split is not None and "all" not in found:
        if split not in found:
            raise DataError(f"{source} has no split {split!r}. It has: {', '.join(found)}.")
        found, split = {split: found[split]}, None
    return _blocks([p for paths in found.values() for p in paths], levels, split, dtype, columns, reading)


def _blocks(paths, levels, split, dtype, columns, reading):
    first = None
    for path, x in _chunks(paths, levels, split, dtype, columns, reading):
        x = values.to_dtype(x, 0 if x.dtype.kind in "iub" else levels, dtype)
        what = f"{x.dtype} {x.shape[1:]}"
        first = first or what
        if what != first:
            raise DataError(f"{path}: expected rows of {first} as in {paths[0]}. Received: {what}.")
        yield x


def _chunks(paths, levels, split, dtype, columns, reading):
    """Yields (path, checked array [k, *event_shape])."""
    kind = _kind(paths)
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


def _read_one(paths, levels, condition, dtype, columns, reading):
    """{split: Part} or {"all": Part}, and the names of the columns that are x, None where there are none."""
    kind = _kind(paths)
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
    if condition is not None:
        raise DataError(
            f"{paths[0]}: a condition is read from a column of a table or an array of one .npz file. "
            f"Received: condition={condition!r} with {len(paths)} {kind} files."
        )
    if kind == ".npy" and len(paths) == 1:
        return {"all": Part(numpy_files.load_npy(paths[0]))}, None
    if kind == "images":  # Kept as bytes.
        return {"all": Part(cache.spool(image_files.chunks(paths, reading)))}, None
    return {"all": Part(cache.spool(_blocks(paths, levels, None, dtype, None, reading)))}, None


def _find_splits(source):
    """{"all": paths}, or {"train": paths, ...} for a folder with entries named so."""
    path = pathlib.Path(os.path.expanduser(source))
    if not path.is_dir():
        return {"all": _find(source)}
    entries = sorted(p for p in path.iterdir() if p.is_dir() or tables.suffix_of(p) in SUFFIXES)
    named = {_SPLIT_NAMES[p.stem]: p for p in entries if p.stem in _SPLIT_NAMES}
    if "train" in named and len(named) > 1 and len(named) == len(entries):
        return {split: _find(named[split]) for split in ("train", "valid", "test") if split in named}
    return {"all": _find(source)}


def _find(source):
    """The files of a source, sorted, all of one kind, none empty."""
    path = pathlib.Path(os.path.expanduser(source))
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if tables.suffix_of(p) in SUFFIXES and p.is_file())
        if not paths:
            raise DataError(f"The folder {source} has no data files. Expected: {', '.join(SUFFIXES)}.")
    elif path.is_file():
        paths = [path]
    elif glob.has_magic(os.fspath(source)):
        paths = [pathlib.Path(p) for p in sorted(glob.glob(os.fspath(path), recursive=True)) if os.path.isfile(p)]
        if not paths:
            raise DataError(f"No file matches {source}.")
    else:
        raise DataError(f"There is no file {source}.")
    for p in paths:
        if tables.suffix_of(p) not in SUFFIXES:
            raise DataError(f"{p}: expected a file of {', '.join(SUFFIXES)}. Received: {p.suffix or 'no suffix'}.")
        try:
            empty = p.stat().st_size == 0
            p.open("rb").close()
        except OSError as e:
            raise DataError(f"{p} cannot be read: {e.strerror}.") from None
        if empty:
            raise DataError(f"{p} is empty.")
    kinds = {_kind([p]): p for p in paths}
    if len(kinds) > 1:
        one, other = sorted(str(p) for p in kinds.values())[:2]
        raise DataError(f"{source}: expected files of one kind. Received: {one} and {other}.")
    return [str(p) for p in paths]


def _kind(paths):
    suffix = tables.suffix_of(paths[0])
    if tables.READERS.get(suffix) is csv_files:
        return ".csv"
    return "images" if suffix in image_files.SUFFIXES else suffix
