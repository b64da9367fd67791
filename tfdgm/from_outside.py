"""What others wrote (files, servers' replies) against the kind of value expected. A kind is a type as annotations write it:
int, float, list[str], dict, str | None, typing.Literal, a TypedDict or a dataclass, whose fields without a default must be there.
"""

import dataclasses
import json
import os
import pathlib
import types
import typing

MOST_BYTES = 2**26


class OutsideError(ValueError):
    """A file or value from outside that is not what was expected."""


def read_text(path: str | os.PathLike, most_bytes: int = MOST_BYTES) -> str:
    """The text of a file; an OutsideError for what would not end (pipes, devices, files of any size) or is no text.

    Raises:
      FileNotFoundError: where there is none.
    """
    path = pathlib.Path(path)
    size = path.stat().st_size
    if not path.is_file():
        raise OutsideError(f"expected a file. Received: a {'folder' if path.is_dir() else 'pipe or device'}")
    if size > most_bytes:
        raise OutsideError(f"expected {most_bytes:,} bytes at most. Received: {size:,}")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise OutsideError(f"expected text in UTF-8: {error}") from None


def parse_json(text: str | bytes, kind: typing.Any = typing.Any, where: str = "the whole") -> typing.Any:
    """The value that JSON `text` holds, of that kind; else an OutsideError."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise OutsideError("it is nested too deeply") from None
    except ValueError as error:
        raise OutsideError(str(error)) from None
    check(value, kind, where)
    return value


def check(value: typing.Any, kind: typing.Any, where: str) -> None:
    """An OutsideError where `value` is not of that kind; it names the part, as "data.columns"."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if not any(_fits(value, one) for one in of):
            raise _error(value, kind, where)
    elif origin is typing.Literal:
        if value not in of:
            raise _error(value, kind, where)
    elif origin in (list, tuple):
        check(value, list, where)
        for i, part in enumerate(value):
            check(part, of[0], f"{where}[{i}]")
    elif typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        check(value, dict, where)
        parts = typing.get_type_hints(kind)
        if missing := [name for name in _required(kind) if name not in value]:
            raise OutsideError(f"{where} must have {', '.join(missing)}. Received: {', '.join(map(str, value)) or 'nothing'}")
        for name in parts.keys() & value.keys():
            check(value[name], parts[name], name if where == "the whole" else f"{where}.{name}")
    elif kind is not typing.Any and not _is_a(value, kind):
        raise _error(value, kind, where)


def is_plain(value: typing.Any) -> bool:
    """Whether a value is None, true or false, a number, a text, or a list of such."""
    return all(map(is_plain, value)) if isinstance(value, (list, tuple)) else isinstance(value, (int, float, str, type(None)))


def _fits(value, kind):
    try:
        check(value, kind, "")
    except OutsideError:
        return False
    return True


def _is_a(value, kind):
    if kind is float:  # A larger integer than any float is none.
        return (_is_a(value, int) and abs(value) < 1e300) or isinstance(value, float)
    if kind in (list, tuple):
        return isinstance(value, (list, tuple))
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is int)


def _required(kind):
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    return sorted(kind.__required_keys__)


def _error(value, kind, where):
    expected = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")
    received = repr(value)
    return OutsideError(f"{where} must be {expected}. Received: {received if len(received) < 80 else received[:80] + '...'}")
