"""What a csv is, from its first lines: compressed, its encoding, its delimiter, its decimals, its header."""

import codecs
import contextlib
import csv
import dataclasses
import io
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tfdgm.data.columns import printable
from tfdgm.data.data_error import DataError
from tfdgm.data.reading import Reading

_DELIMITERS = ",;\t| "  # The first is taken where several would do.
_LINES, _BYTES, _LONGEST = 100, 2**15, 2**22
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_NO_TEXT = {
    b"PK\x03\x04": "a zip archive, or a sheet of Excel",
    b"\xd0\xcf\x11\xe0": "a sheet of Excel",
    b"PAR1": "parquet",
    b"\x93NUM": ".npy",
    b"\x89HDF": "HDF5",
    b"%PDF": "PDF",
}
_BOMS = {  # UTF-32's begins as UTF-16's.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
# Digits in groups of three, by what stands before the decimals: None where that is not known, and , and . may be either.
_GROUPED = {
    decimal: re.compile(rf"[+-]?[1-9]\d{{0,2}}([{between}])\d{{3}}(\1\d{{3}})*({decimals}\d*)?")
    for decimal, between, decimals in (
        (None, "'’\u00a0\u202f\u2009", r"\."),
        (".", ",'’\u00a0\u202f\u2009", r"\."),
        (",", ".'’\u00a0\u202f\u2009", ","),
    )
}


def number(cell: str, decimal: str | None = None) -> float | None:
    """The number that a cell holds, None where it holds none: 1.5, 1,5 under decimal=",", 12,345.6 under ".", True."""
    if decimal != "," or "." not in cell:
        try:
            return None if "_" in cell else float(cell)
        except ValueError:
            pass
    text = cell.strip().replace("\u2212", "-")
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    grouped = _GROUPED[decimal].fullmatch(text)
    if grouped:
        text = text.replace(grouped[1], "")
    if decimal == ",":
        text = text.replace(".", "_").replace(",", ".")
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a csv is read; `rows` are the cells of its first rows, which begin after `skip` lines."""

    compression: str | None
    encoding: str
    delimiter: str
    decimal: str | None
    names: list[str] | None
    width: int
    skip: int
    rows: Sequence[list[str]]
    notes: Sequence[str]


def dialect_of(path: str | os.PathLike, reading: Reading) -> Dialect:
    """What a csv is, where `reading` does not say it.

    Raises:
      DataError: for what is no csv, and what may be read in more than one way; it says which option tells.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    compression = next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)
    encoding = _encoding(path, compression, reading)
    lines, is_whole = _first_lines(path, compression, encoding)
    given = reading.delimiter
    skip = 0
    if lines and (said := re.fullmatch(r"sep=(.)\s*", lines[0])):  # Excel's own.
        skip, given = 1, given or said[1]
    above = ""  # What a comment says right before the rows, as numpy writes names.
    while skip < len(lines) and (not lines[skip].strip() or lines[skip].startswith("#")):
        above = lines[skip].strip().lstrip("# ") or above
        skip += 1
    if skip == len(lines):
        raise DataError(f"{path} is empty." if is_whole else f"{path}: expected rows in the first {len(lines)} lines.")
    candidates = given or ("\t" + _DELIMITERS if ".tsv" in os.fspath(path).lower() else _DELIMITERS)
    delimiter, records = _delimiter(path, lines[skip:], is_whole, candidates, reading.decimal)
    first, used = records[0]
    decimal = reading.decimal or _decimal(path, [cell for cells, _ in records for cell in cells])
    rows = [cells for cells, _ in records]
    width, notes = len(first), []
    commented = next(csv.reader([above], delimiter=delimiter), []) if reading.header is None else []
    if len(commented) == width and any(_are_numbers(first)) and not any(_are_numbers(commented)):
        names = commented
    elif _is_header(path, rows, skip + used, decimal, reading.header, notes):
        names, skip, rows = first, skip + used, rows[1:]
    else:
        names = None
    names = names and [printable(name.strip()) for name in names]
    return Dialect(compression, encoding, delimiter, decimal, names, width, skip, rows, notes)


@contextlib.contextmanager
def opened(path: str | os.PathLike, compression: str | None) -> Iterator[Any]:
    """The file's bytes."""
    import pyarrow

    with pyarrow.input_stream(os.fspath(path), compression=compression) as stream:
        yield stream


@contextlib.contextmanager
def text_of(path: str | os.PathLike, compression: str | None, encoding: str, errors: str = "strict") -> Iterator[io.TextIOBase]:
    """The file's text, with its ends of lines as they are."""
    with opened(path, compression) as stream, io.TextIOWrapper(stream, encoding, errors, newline="") as text:
        yield text


def _encoding(path, compression, reading):
    with _damage(path), opened(path, compression) as stream:
        start = stream.read(2**10)
    if what := next((what for magic, what in _NO_TEXT.items() if start.startswith(magic)), None):
        raise DataError(f"{path}: expected text. Received: {what}.")
    if reading.encoding is None or reading.encoding.lower().startswith("utf"):
        if encoding := next((name for bom, name in _BOMS.items() if start.startswith(bom)), None):
            return encoding
        if reading.encoding is None and len(start) > 1:  # UTF-16 of text that is mostly ASCII has every other byte 0.
            for place, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
                if not any(start[place::2]) and all(start[1 - place :: 2]):
                    return encoding
    return reading.encoding or "utf-8"


def _first_lines(path, compression, encoding):
    """Some lines, and whether they are all."""
    lines, size = [], 0
    with _damage(path), text_of(path, compression, encoding) as text:
        try:
            while len(lines) < _LINES and (size < _BYTES or len(lines) < 3):
                line = text.readline(_LONGEST)
                if not line:
                    return lines, True
                if len(line) == _LONGEST:
                    raise DataError(f"{path}, line {len(lines) + 1}: expected less than {_LONGEST:,} characters.")
                lines.append(line)
                size += len(line)
            return lines, not text.read(1)
        except UnicodeError as e:
            raise DataError(wrong_encoding(path, encoding, e)) from None


def wrong_encoding(path: str | os.PathLike, encoding: str, error: UnicodeError) -> str:
    """The message for bytes that are not of an encoding."""
    which = f" (byte 0x{error.object[error.start]:02x})" if isinstance(error, UnicodeDecodeError) else ""
    return (
        f"{path}: expected text in {encoding.removesuffix('-sig').upper()}. Received: other bytes{which}. "
        "Its encoding is to be said (--encoding=cp1252, latin-1, ...)."
    )


@contextlib.contextmanager
def _damage(path):
    try:
        yield
    except (OSError, EOFError) as e:
        raise DataError(f"{path} is damaged: {e}") from None


def _delimiter(path, lines, is_whole, candidates, decimal):
    """The delimiter, and the first records with it: (cells, the number of the line where they end)."""
    if decimal == "," and len(candidates) > 1 and not any('"' in line for line in lines):  # Unquoted, a comma is either.
        candidates = [delimiter for delimiter in candidates if delimiter != ","]
    found, errors = {}, []
    for delimiter in candidates:
        try:
            reader = csv.reader(lines, delimiter=delimiter)
            records = [(cells, reader.line_num) for cells in reader if len(cells) > 1 or any(cell.strip() for cell in cells)]
        except csv.Error as e:
            errors.append(DataError(f"{path}, line {reader.line_num}: {e}."))
            continue
        if records:
            found[delimiter] = records if is_whole or len(records) < 3 else records[:-1]
    if not found:
        raise errors[0] if errors else DataError(f"{path} is empty.")
    # One column has no delimiter: that is the first of them.
    possible = [delimiter for i, delimiter in enumerate(found) if i == 0 or len(found[delimiter][0][0]) > 1]
    best = max(possible, key=lambda delimiter: _quality(found[delimiter]))
    return best, found[best]


def _quality(records):
    """How many of the cells are numbers, and whether all records have as many cells."""
    cells = [cell for cells, _ in records[1:] or records for cell in cells]
    numbers = sum(not cell.strip() or number(cell, ".") is not None or number(cell, ",") is not None for cell in cells)
    return numbers / len(cells), len({len(cells) for cells, _ in records}) == 1


def _decimal(path, cells):
    """What stands before the decimals in cells; None where none tells."""
    either = [(number(cell, ".") is not None, number(cell, ",") is not None, cell) for cell in cells]
    either = [(point, comma, cell) for point, comma, cell in either if point or comma]
    is_point, is_comma = all(point for point, _, _ in either), all(comma for _, comma, _ in either)
    if is_point and is_comma:
        unclear = next((cell for _, _, cell in either if "," in cell), None)
        if unclear is not None:
            raise DataError(
                f"{path}: expected numbers that can be read in one way. Received: {unclear.strip()!r}, with decimals after the "
                "comma (--decimal=,) or with thousands before it (--decimal=.)."
            )
        return None
    return "." if is_point else "," if is_comma else None


def _is_header(path, rows, line, decimal, given, notes):
    """Whether the first of `rows` holds names; `notes` takes what is to be said of that."""
    if given is not None:
        return given
    cells = [cell.strip() for cell in rows[0]]
    numbered = cells[1:] if not cells[0] else cells
    if numbered and numbered == [str(i) for i in range(len(numbered))]:
        if len(numbered) < 3 and numbered is cells and all(re.fullmatch(r"\s*-?\d+\s*", cell) for row in rows for cell in row):
            raise DataError(
                f"{path}, line {line}: {','.join(cells)} may be a row, or the names that pandas gives to columns without names. "
                "Expected: header True or False (--header, --noheader)."
            )
        if numbered is cells:
            notes.append(f"line {line}, {_shortened(cells)}, is taken for a header; header=False (--noheader) makes it a row.")
        return True
    is_number = _are_numbers(cells, decimal)
    if any(is_number) and not all(is_number):
        place = is_number.index(False)
        raise DataError(
            f"{path}, line {line}, column {place + 1}: {printable(cells[place][:40])!r} is not a number. "
            "The first line must be numbers throughout, or names throughout; names may be numbers with header=True (--header)."
        )
    return not any(is_number)


def _are_numbers(cells, decimal=None):
    return [number(cell, decimal) is not None for cell in cells]


def _shortened(cells):
    return ",".join(cells) if len(cells) < 7 else f"{','.join(cells[:3])},...,{cells[-1]}"
