"""numpy's .npy (memory-mapped) and .npz (read a block at a time where only blocks are asked for)."""

import contextlib
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from tfdgm.data.data_error import DataError

_BLOCK_BYTES = 2**24
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_SPLIT_KEYS = {
    "train": ("train", "train_data", "x_train"),
    "valid": ("valid", "valid_data", "x_valid", "validation", "val", "x_val"),
    "test": ("test", "test_data", "x_test"),
}


def load_npy(path: str | os.PathLike) -> np.ndarray:
    """The array [n, *event_shape], memory-mapped; [n] becomes [n, 1]."""
    with _damage(path, ".npy"), open(path, "rb") as file:
        _header(file, path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _rows(array)


def load_npz(path: str | os.PathLike, condition: str | None = None) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """A dict of parts, {"all": x} or {"train": x, ...}; and the condition's array or None.

    The rows are the array `x` (or `X`), or the only array; or one array for each split, named `train`,
    `valid`, `test` (or `train_data`, ...). `condition` names another array with as many rows.
    """
    with _archive(path) as archive:
        parts, shapes = _checked_parts(archive, path, condition)
        if condition is not None:
            if "all" not in parts:
                raise DataError(f"{path}: a condition is read beside an array `x`, not beside arrays of separate splits.")
            if shapes[condition][0] != shapes[parts["all"]][0]:
                raise DataError(
                    f"{path}: expected as many rows in {condition!r} as in `x`, {shapes[parts['all']][0]}. "
                    f"Received: {shapes[condition][0]}."
                )
        arrays = {split: _rows(_whole(archive, key)) for split, key in parts.items()}
        return arrays, None if condition is None else _rows(_whole(archive, condition))


def npz_blocks(path: str | os.PathLike, split: str | None = None) -> Iterator[np.ndarray]:
    """Yields the rows that `load_npz` gives, those of all parts or of one, some megabytes at a time."""
    with _archive(path) as archive:
        parts, _ = _checked_parts(archive, path, None)
        if split is not None and split not in parts:
            raise DataError(f"{path} has no split {split!r}. Leave it out to read all rows.")
        for key in parts.values() if split is None else [parts[split]]:
            yield from _blocks(archive, path, key)


def event_shapes(path: str | os.PathLike, condition: str | None = None) -> list[tuple[int, ...]]:
    """The shape of one row of each part of an .npz, from the headers alone."""
    with _archive(path) as archive:
        parts, shapes = _checked_parts(archive, path, condition)
    return [shapes[key][1:] or (1,) for key in parts.values()]


@contextlib.contextmanager
def _archive(path):
    with _damage(path, ".npz"):
        with open(path, "rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise DataError(f"{path} holds a single array: expected an .npz archive.")
        with zipfile.ZipFile(path) as archive:
            yield archive


def _checked_parts(archive, path, condition):
    """{split: key}, and the shapes of all arrays of an archive. Reads the headers, and none of what they announce."""
    names = archive.namelist()
    keys = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
    received = ", ".join(keys or names)[:200] or "no arrays"
    if len(set(names)) < len(names):
        raise DataError(f"{path}: expected arrays of different names. Received: {received}.")
    parts = _parts([key for key in keys if key != condition])
    if not parts:
        raise DataError(f"{path}: expected an array `x`, a single array, or `train`, `valid` and `test`. Received: {received}.")
    if condition is not None and condition not in keys:
        raise DataError(f"{path}: no array {condition!r} for the condition. It has: {received}.")
    shapes = {}
    for key in [*parts.values(), *([] if condition is None else [condition])]:
        where, info = f"{path}, array {key!r}", archive.getinfo(f"{key}.npy")
        if info.flag_bits & 1:
            raise DataError(f"{where} is encrypted: expected an archive without a password.")
        with _damage(where, ".npy"), archive.open(info) as file:
            shape, _, dtype = _header(file, where)
            holds = info.file_size - file.tell()
        if math.prod(shape) * dtype.itemsize != holds:
            raise DataError(f"{where} is damaged: its header says {dtype} {shape}, and {holds} bytes follow.")
        shapes[key] = shape
    return parts, shapes


def _header(file, where):
    """(shape, whether in Fortran's order, dtype) of an array, checked."""
    version = np.lib.format.read_magic(file)
    if version not in _READ_HEADER:  # Of names of fields that are not Latin-1.
        raise DataError(f"{where}: expected numbers. Received: an array with named fields.")
    shape, is_fortran, dtype = _READ_HEADER[version](file)
    if dtype.kind not in "fiub":
        raise DataError(f"{where}: expected numbers. Received: dtype {dtype}.")
    if not shape or 0 in shape:
        raise DataError(f"{where} is empty: expected shape [n, ...] with n at least 1. Received: {shape}.")
    return shape, is_fortran, dtype


def _whole(archive, key):
    with archive.open(f"{key}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _blocks(archive, path, key):
    with archive.open(f"{key}.npy") as file:
        shape, is_fortran, dtype = _header(file, path)
        row = math.prod(shape[1:]) * dtype.itemsize
        step = max(1, _BLOCK_BYTES // row)
        if is_fortran:
            whole = _rows(_whole(archive, key))
            yield from (whole[start : start + step] for start in range(0, len(whole), step))
            return
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            yield _rows(np.frombuffer(file.read(count * row), dtype).reshape(count, *shape[1:]))


@contextlib.contextmanager
def _damage(path, suffix):
    try:
        yield
    except DataError:
        raise
    except (
        ValueError,
        KeyError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        SyntaxError,  # Of a header, as the next.
        tokenize.TokenError,
    ) as e:
        raise DataError(f"{path} is damaged, or not {suffix}: {e}") from None


def _parts(keys):
    for name in ("x", "X"):
        if name in keys:
            return {"all": name}
    parts = {split: key for split, names in _SPLIT_KEYS.items() for key in names[::-1] if key in keys}
    if "train" in parts and len(parts) > 1:
        return parts
    return {"all": keys[0]} if len(keys) == 1 else {}


def _rows(array):
    return array[:, np.newaxis] if array.ndim == 1 else array
