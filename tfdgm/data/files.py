"""Files, globs and folders: what they are, and their rows."""

import glob
import os
import pathlib

import numpy as np

from tfdgm.data import cache, csv_files, image_files, numpy_files, parquet_files, values
from tfdgm.data.content import Content, Part
from tfdgm.data.data_error import DataError

TABLES = {".csv": csv_files, ".parquet": parquet_files}
ARRAYS = (".npy", ".npz")
SUFFIXES = (*TABLES, *ARRAYS, *image_files.SUFFIXES)

_SPLIT_NAMES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}


def read(source, levels=None, condition=None):
    """The `Content` of a file, a glob or a folder.

    Tables and images are copied once, in blocks, into a temporary memory map (`cache.spool`), so memory stays
    bounded, every value is checked before training begins, and shuffling is over all rows. A .npy file is
    itself the memory map.
    """
    parts, all_paths = {}, []
    for split, paths in _find_splits(source).items():
        all_paths += paths
        for key, part in _read_one(paths, levels, condition).items():
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

    largest = max(values.check_in_blocks(part.x, levels, f"{source}") for part in parts.values())
    kind = _kind(all_paths)
    if levels is None:
        if kind == "images":
            levels = 256
        elif parts[next(iter(parts))].x.dtype.kind in "iub":
            levels = max(2, int(largest) + 1)
            if levels > 2**31:
                raise DataError(f"{source}: expected integers below 2**31. Received: {largest}.")
    kinds = f"{kind} file{'s' if len(all_paths) > 1 else ''}" if kind != "images" else kind if len(all_paths) > 1 else "image"
    what = f"{len(all_paths)} {kinds}"
    names = _columns(all_paths, condition)
    return Content(os.fspath(source), parts, levels, cache.sha256_of(all_paths), f"Rows of {what}: {source}", names)


def check_columns(source, expected, condition=None):
    """Raises where a table has the names `expected` at other places, which would give other scores and no error."""
    names = _columns(paths_of(source), condition)
    for i, (here, name) in enumerate(zip(names or (), expected, strict=False)):
        if here != name and name in names:
            raise DataError(
                f"{source}: expected column {i + 1} to be {name!r}, as in training. Received: {here!r}; "
                f"{name!r} is column {names.index(name) + 1}."
            )


def paths_of(source):
    """The files of a source, those of all its splits."""
    return [path for paths in _find_splits(source).values() for path in paths]


def _columns(paths, condition=None):
    """The names of a table's columns but the condition's; None of other files, and where there are no names."""
    if len({_kind([path]) for path in paths}) > 1 or _kind(paths) not in TABLES:
        return None
    names, width = _same_columns(paths, TABLES[_kind(paths)])
    given = _condition_columns(paths[0], names, width, condition)
    return None if names is None else tuple(name for name in names if name not in given)


def blocks(source, levels=None, split=None):
    """Yields all rows of a file, glob or folder in order: checked arrays [k, *event_shape], float32 or int32.

    `split` keeps one split of a source that has its own. Looks for the files at once, reads as it goes.
    """
    found = _find_splits(source)
    if split is not None and "all" not in found:
        if split not in found:
            raise DataError(f"{source} has no split {split!r}. It has: {', '.join(found)}.")
        found, split = {split: found[split]}, None
    return _blocks([p for paths in found.values() for p in paths], levels, split)


def _blocks(paths, levels, split):
    first = None
    for path, x in _chunks(paths, levels, split):
        x = values.to_dtype(x, 0 if x.dtype.kind in "iub" else levels)
        what = f"{x.dtype} {x.shape[1:]}"
        first = first or what
        if what != first:
            raise DataError(f"{path}: expected rows of {first} as in {paths[0]}. Received: {what}.")
        yield x


def _chunks(paths, levels, split):
    """Yields (path, checked array [k, *event_shape])."""
    kind = _kind(paths)
    if split is not None and kind != ".npz":
        raise DataError(f"{paths[0]} has no splits of its own. Received: split={split!r}; `load` divides it.")
    if kind == "images":
        yield from ((paths[0], x) for x in image_files.chunks(paths))
    elif kind in TABLES:
        _same_columns(paths, TABLES[kind])
        for path in paths:
            yield from ((path, x) for x in TABLES[kind].chunks(path, levels))
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
                    values.check(block, levels, path, offset=start)
                    yield path, block


def _read_one(paths, levels, condition):
    kind = _kind(paths)
    if kind in TABLES:
        return {"all": _read_tables(paths, TABLES[kind], levels, condition)}
    if kind == ".npz" and len(paths) == 1:
        arrays, given = numpy_files.load_npz(paths[0], condition)
        if given is not None:
            values.check(given, None, f"{paths[0]}, array {condition!r}")
        return {split: Part(x, given) for split, x in arrays.items()}
    if condition is not None:
        raise DataError(
            f"{paths[0]}: a condition is read from a column of a table or an array of one .npz file. "
            f"Received: condition={condition!r} with {len(paths)} {kind} files."
        )
    if kind == ".npy" and len(paths) == 1:
        return {"all": Part(numpy_files.load_npy(paths[0]))}
    if kind == "images":  # Kept as bytes.
        return {"all": Part(cache.spool(image_files.chunks(paths)))}
    return {"all": Part(cache.spool(_blocks(paths, levels, None)))}


def _read_tables(paths, reader, levels, condition):
    names, width = _same_columns(paths, reader)
    if condition is None:
        return Part(cache.spool(x for path in paths for x in reader.chunks(path, levels)))
    wanted = _condition_columns(paths[0], names, width, condition)
    given = [names.index(c) for c in wanted]
    rest = [i for i in range(width) if i not in given]
    if not rest:
        raise DataError(f"{paths[0]}: no column is left beside the condition {', '.join(wanted)}.")
    # One pass over the text; the condition's columns are not held to `levels`, those of x are, in `read`.
    table = cache.spool(x for path in paths for x in reader.chunks(path, None))
    x = cache.spool(table[i : i + 2**16][:, rest] for i in range(0, len(table), 2**16))
    return Part(x, np.ascontiguousarray(table[:, given]))


def _condition_columns(path, names, width, condition):
    """The names of the columns that are the condition."""
    wanted = [condition] if isinstance(condition, str) else list(condition or ())
    missing = [c for c in wanted if names is None or c not in names]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r} for the condition. It has: "
            f"{', '.join(names) if names else f'{width} columns without names'}."
        )
    return wanted


def _same_columns(paths, reader):
    """The columns of the first file; raises where another file's differ."""
    names, width = reader.columns(paths[0])
    for path in paths[1:]:
        more, more_width = reader.columns(path)
        if more_width != width:
            raise DataError(f"{path}: expected {width} columns as in {paths[0]}. Received: {more_width}.")
        if names and more and names != more:
            place = next(i for i in range(width) if names[i] != more[i])
            raise DataError(
                f"{path}: expected column {place + 1} to be {names[place]!r} as in {paths[0]}. Received: {more[place]!r}."
            )
    return names, width


def _find_splits(source):
    """{"all": paths}, or {"train": paths, ...} for a folder with entries named so."""
    path = pathlib.Path(os.path.expanduser(source))
    if not path.is_dir():
        return {"all": _find(source)}
    entries = sorted(p for p in path.iterdir() if p.is_dir() or p.suffix.lower() in SUFFIXES)
    named = {_SPLIT_NAMES[p.stem]: p for p in entries if p.stem in _SPLIT_NAMES}
    if "train" in named and len(named) > 1 and len(named) == len(entries):
        return {split: _find(named[split]) for split in ("train", "valid", "test") if split in named}
    return {"all": _find(source)}


def _find(source):
    """The files of a source, sorted, all of one kind, none empty."""
    path = pathlib.Path(os.path.expanduser(source))
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
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
        if p.suffix.lower() not in SUFFIXES:
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
    suffix = os.path.splitext(paths[0])[1].lower()
    return "images" if suffix in image_files.SUFFIXES else suffix
