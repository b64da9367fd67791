"""numpy's .npy (memory-mapped) and .npz."""

import os
import warnings
import zipfile
import zlib

import numpy as np

from tfdgm.data.data_error import DataError

_SPLIT_KEYS = {
    "train": ("train", "train_data", "x_train"),
    "valid": ("valid", "valid_data", "x_valid", "validation", "val", "x_val"),
    "test": ("test", "test_data", "x_test"),
}


def load_npy(path: str | os.PathLike) -> np.ndarray:
    """The array [n, *event_shape], memory-mapped; [n] becomes [n, 1]."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as e:
        why = "it holds no array of numbers" if "pickle" in str(e) else e  # That is what numpy takes all else for.
        raise DataError(f"{path} is damaged, or not .npy: {why}") from None
    return _rows(array, path)


def load_npz(path: str | os.PathLike, condition: str | None = None) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """A dict of parts, {"all": x} or {"train": x, ...}; and the condition's array or None.

    The rows are the array `x` (or `X`), or the only array; or one array for each split, named `train`,
    `valid`, `test` (or `train_data`, ...). `condition` names another array with as many rows.
    """
    try:
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as file:
            # Archives that Python 2 wrote are slower to open, and as good.
            warnings.filterwarnings("ignore", message="Reading `.npy` or `.npz` file required")
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds a single array: expected an .npz archive.")
            keys = [k for k in file.files if k != condition]
            parts = _parts(keys)
            if not parts:
                raise DataError(
                    f"{path}: expected an array `x`, a single array, or `train`, `valid` and `test`. "
                    f"Received: {', '.join(file.files) or 'no arrays'}."
                )
            if condition is not None and condition not in file.files:
                raise DataError(f"{path}: no array {condition!r} for the condition. It has: {', '.join(file.files)}.")
            arrays = {split: _rows(file[key], f"{path}, array {key!r}") for split, key in parts.items()}
            given = None if condition is None else _rows(file[condition], f"{path}, array {condition!r}")
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
    ) as e:
        raise DataError(f"{path} is damaged, or not .npz: {e}") from None
    if given is not None:
        if "all" not in arrays:
            raise DataError(f"{path}: a condition is read beside an array `x`, not beside arrays of separate splits.")
        if len(given) != len(arrays["all"]):
            raise DataError(
                f"{path}: expected as many rows in {condition!r} as in `x`, {len(arrays['all'])}. Received: {len(given)}."
            )
    return arrays, given


def _parts(keys):
    for name in ("x", "X"):
        if name in keys:
            return {"all": name}
    parts = {split: key for split, names in _SPLIT_KEYS.items() for key in names[::-1] if key in keys}
    if "train" in parts and len(parts) > 1:
        return parts
    return {"all": keys[0]} if len(keys) == 1 else {}


def _rows(array, where):
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: expected numbers. Received: dtype {array.dtype}.")
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{where} is empty: expected shape [n, ...] with n at least 1. Received: {array.shape}.")
    return array[:, np.newaxis] if array.ndim == 1 else array
