"""A named set as one .npz, to be read where TensorFlow Datasets is not installed."""

import json
import pathlib
import zipfile

import numpy as np

from tfdgm.data.content import Content, Part
from tfdgm.data.data_error import DataError


def write(path: pathlib.Path, what: Content, condition: str | None) -> None:
    """Writes a `Content`, read with this `condition`."""
    meta = {key: getattr(what, key) for key in ("name", "levels", "sha256", "description", "classes", "excerpt_of")}
    arrays = {}
    for split, part in what.parts.items():
        arrays[split] = part.x[part.rows]
        if part.condition is not None:
            arrays[f"{split}.condition"] = part.condition[part.rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, meta=json.dumps({**meta, "condition": condition}), **arrays)


def read(path: pathlib.Path, condition: str | None) -> Content:
    """The `Content` that was written, with its condition or without."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:  # numpy leaves a damaged one open.
            meta = json.loads(str(file["meta"]))
            arrays = {name: file[name] for name in file.files if name != "meta"}
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged, or not written by tools/pack_data.py: {error}") from None
    there, classes = meta.pop("condition"), meta.pop("classes", None)  # Older ones tell no classes.
    if condition not in (None, there):
        raise DataError(f"{path} was packed {f'with condition={there!r}' if there else 'without one'}. Received: {condition!r}.")
    splits = [name for name in arrays if not name.endswith(".condition")]
    parts = {split: Part(arrays[split], None if condition is None else arrays[f"{split}.condition"]) for split in splits}
    return Content(parts=parts, classes=classes and condition and tuple(classes), **meta)
