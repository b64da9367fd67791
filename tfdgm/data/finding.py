"""Which files a source is: a file, a glob or a folder."""

import dataclasses
import glob
import os
import pathlib
import re
import textwrap
import warnings
from collections.abc import Iterable

from tfdgm.data import csv_files, image_files, tables
from tfdgm.data.data_error import DataError

SUFFIXES = (*tables.READERS, ".npy", ".npz", *image_files.SUFFIXES)

_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
# A split's name, alone or of one of its parts, as in train-00000-of-00002.parquet.
_SPLIT = re.compile(r"([a-z]+)(-\d+-of-\d+)?(\..*)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Found:
    """Files of one kind, sorted. `classes` names the folder that each lies in, of a folder's files the uppermost one below it; ""
    where there is none."""

    kind: str
    paths: list[str]
    classes: list[str]


def find_splits(source: str | os.PathLike) -> dict[str, Found]:
    """{"all": files}, or {"train": files, ...} of a folder whose entries are named so."""
    path = pathlib.Path(os.path.expanduser(source))
    if not path.is_dir():
        return {"all": _found(source, _matched(source, path), None)}
    paths = data_files(path, SUFFIXES)
    splits, others = {}, []
    for p in paths:
        entry = p.relative_to(path).parts[0]
        name = _SPLIT.fullmatch(entry)
        split = name and _SPLIT_NAMES.get(name[1].lower())
        splits.setdefault(split, []).append(p) if split else others.append(entry)
    if "train" not in splits or len(splits) < 2 or others:
        if "train" in splits and len(splits) > 1:
            warnings.warn(
                f"{source}: {_listed(splits)} are no splits here, but rows like all others, since there are data beside them: "
                f"{_listed(dict.fromkeys(others))}",
                stacklevel=2,
            )
        return {"all": _found(source, paths, path)}
    return {split: _found(source, splits[split], path, depth=1) for split in ("train", "valid", "test") if split in splits}


def data_files(folder: pathlib.Path, suffixes: Iterable[str]) -> list[pathlib.Path]:
    """The files with one of `suffixes` below a folder, sorted; a line says which others are left out.

    Names that begin with a dot (`.ipynb_checkpoints`, macOS's `._a.csv`) and `__MACOSX` are passed over. Links are followed.
    """
    files, seen = [], set()
    for at, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(at)
        folders[:] = [] if real in seen else filter(_is_visible, folders)
        files += [] if real in seen else [pathlib.Path(at, name) for name in filter(_is_visible, names)]
        seen.add(real)
    files.sort()
    data = [p for p in files if tables.suffix_of(p) in suffixes]
    if not data:
        holds = f" It holds {_listed(_below(folder, files))}." if files else ""
        raise DataError(f"The folder {folder} has no data files. Expected: {', '.join(suffixes)}.{holds}")
    others = [p for p in files if tables.suffix_of(p) not in suffixes]
    if others:
        count = f"{len(others)} other file{'s' if len(others) > 1 else ''}"
        warnings.warn(f"{folder}: {count} left out: {_listed(_below(folder, others))}", stacklevel=2)
    return data


def _matched(source, path):
    if path.is_file():
        return [path]
    if path.exists():
        raise DataError(f"{source} is neither a file nor a folder.")
    if not glob.has_magic(os.fspath(source)):
        raise DataError(f"There is no file {source}.")
    matches = [pathlib.Path(p) for p in sorted(glob.glob(os.fspath(path), recursive=True)) if "__MACOSX" not in p.split(os.sep)]
    paths = [p for p in matches if not p.is_dir()]
    if not paths:
        raise DataError(f"No file matches {source}.{f' Folders do, such as {matches[0]}.' if matches else ''}")
    return paths


def _found(source, paths, top, depth=0):
    """`Found` of paths, checked: all of one kind, none empty. Classes' folders lie `depth` folders below `top`."""
    for p in paths:
        if tables.suffix_of(p) not in SUFFIXES:
            raise DataError(f"{p}: expected a file of {', '.join(SUFFIXES)}. Received: {p.suffix or 'no suffix'}.")
        try:
            empty = p.stat().st_size == 0
            if not p.is_file():  # To open a pipe would wait for its writer.
                raise DataError(f"{p} is no regular file.")
            p.open("rb").close()
        except OSError as e:
            raise DataError(f"{p} cannot be read: {e.strerror}.") from None
        if empty:
            raise DataError(f"{p} is empty.")
    kinds = {}
    for p in paths:
        kinds.setdefault(_kind_of(p), []).append(p)
    if len(kinds) > 1:
        received = " and ".join(f"{len(of)} of {kind} ({of[0]})" for kind, of in sorted(kinds.items()))
        most = tables.suffix_of(max(kinds.values(), key=len)[0])
        way_out = f" A glob takes some of them: {os.path.join(source, '**', f'*{most}')!r}." if top else ""
        raise DataError(f"{source}: expected files of one kind. Received: {received}.{way_out}")
    parents = [p.absolute().parent.name if top is None else "".join(p.relative_to(top).parts[depth:-1][:1]) for p in paths]
    return Found(*kinds, [str(p) for p in paths], parents)


def _kind_of(path):
    suffix = tables.suffix_of(path)
    if tables.READERS.get(suffix) is csv_files:
        return ".csv"
    return "images" if suffix in image_files.SUFFIXES else suffix


def _is_visible(name):
    return not name.startswith(".") and name != "__MACOSX"


def _raise(error):
    raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None


def _below(folder, paths):
    return [str(p.relative_to(folder)) for p in paths]


def _listed(names):
    return textwrap.shorten(", ".join(names), 200, placeholder=" ...")
