"""The folder for what is prepared once, temporary files in it, and hashes of source files."""

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Iterable

import numpy as np

from tfdgm.data.data_error import DataError
from tfdgm.expanded import expanded


def cache_dir() -> pathlib.Path:
    """`TFDGM_CACHE_DIR`, or `~/.cache/tfdgm`; made if absent."""
    path = os.environ.get("TFDGM_CACHE_DIR") or "~/.cache/tfdgm"
    try:
        path = expanded(path)
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as e:
        raise DataError(
            f"The cache folder {path} cannot be made ({getattr(e, 'strerror', e)}). Set TFDGM_CACHE_DIR to a folder that can be "
            "written."
        ) from e
    return path


def spool(chunks: Iterable[np.ndarray]) -> np.memmap | None:
    """Writes arrays [k, *event_shape] of one dtype one after another to a nameless temporary file.

    Returns a read-only memory map [n, *event_shape], or None where there are no rows. The file is gone with
    the map.
    """
    folder = cache_dir()
    shape, dtype, num_rows = None, None, 0
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for chunk in chunks:
                shape, dtype = chunk.shape[1:], chunk.dtype
                file.write(np.ascontiguousarray(chunk).data)
                num_rows += len(chunk)
            file.flush()
            if not num_rows:
                return None
            return np.memmap(file, dtype, mode="r", shape=(num_rows, *shape))
    except OSError as e:
        raise DataError(
            f"Could not write a temporary file in {folder} ({e.strerror}). Set TFDGM_CACHE_DIR to a folder with room."
        ) from e


def sha256_of(paths: Iterable[str | os.PathLike]) -> str:
    """The sha256, hex, of the files' bytes one after another (of one file: what `sha256sum` prints)."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()
