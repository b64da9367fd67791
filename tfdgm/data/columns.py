"""The columns of a table, and which of them are read."""

import dataclasses
import shlex
import textwrap
import unicodedata
import warnings
from collections.abc import Collection, Mapping, Sequence

from tfdgm.data.data_error import DataError
from tfdgm.data.reading import Reading
from tfdgm.unknown_name import did_you_mean


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns that a file has, as its reader finds them; all are numbered from 0.

    Args:
      names: None where they have none.
      width: how many there are.
      where: the place of the first row, for messages.
      index: those that no one meant as data, as pandas's index, and what is said of it. They are read where they are named.
      no_numbers: those that hold no numbers, and what they hold.
      notes: what the reader took the file for, where that is worth a line.
    """

    names: list[str] | None
    width: int
    where: str
    index: Mapping[int, str] = dataclasses.field(default_factory=dict)
    no_numbers: Mapping[int, str] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()

    def label(self, i: int) -> str:
        """How messages call a column."""
        return f"column {i + 1} ({self.names[i]})" if self.names else f"column {i + 1}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is read of one file: the numbers of the columns that are x, in order, and of those that are the condition.

    `names` are those of x, None where there are none; `notes` are what is to be said of the file.
    """

    path: str
    columns: Columns
    x: list[int]
    condition: list[int]
    names: tuple[str, ...] | None
    notes: list[str]


def layout(
    path: str,
    columns: Columns,
    condition: str | Sequence[str] | None,
    expected: Sequence[str] | None,
    reading: Reading,
) -> Layout:
    """The layout of a file under a reading. `expected` are the names of x in training, whose order x takes.

    Raises:
      DataError: for names that are not there, or twice, and for columns without numbers among those that are read.
    """
    names = columns.names
    wanted = [condition] if isinstance(condition, str) else list(condition or ())
    given = [_place(path, columns, name, " for the condition") for name in wanted]
    if set(wanted) & set(reading.ignore) or len(set(given)) < len(given):
        raise DataError(
            f"{path}: expected a condition of different columns, none of them in ignore (--ignore). "
            f"Received: condition={', '.join(wanted)}, ignore={', '.join(reading.ignore)}."
        )
    if names is None and expected is None and (reading.keep or reading.ignore):
        missing = ", ".join(reading.keep or reading.ignore)
        raise DataError(f"{path} has {columns.width} columns without names. Expected: {missing}; see header (--header).")
    kept, ignored = None, []
    if names is not None:
        kept = reading.keep and [_place(path, columns, name, "") for name in reading.keep]
        # Tables that a model scores may lack what was left out in its training.
        ignored = [_place(path, columns, name, " to ignore") for name in reading.ignore if expected is None or name in names]
    index = {i: why for i, why in columns.index.items() if names[i] not in (expected or ()) and i not in given + ignored}
    if kept is None:
        kept = [i for i in range(columns.width) if i not in ignored and i not in index]
    x = [i for i in kept if i not in given]
    if not x:
        beside = f" beside the condition {', '.join(wanted)}" if wanted else ""
        raise DataError(f"{path}: no column is left{beside}.")
    _check_numbers(columns, x + given)
    notes = [*columns.notes, *(index[i] for i in index if i not in x)]
    if names is None:
        return Layout(path, columns, x, given, None, notes)
    here = [names[i] for i in x]
    x = [x[i] for i in _order(path, here, expected or here)]
    return Layout(path, columns, x, given, tuple(names[i] for i in x), notes)


def check_same(layouts: Sequence[Layout]) -> None:
    """Raises DataError where the columns of x are not those of the first file."""
    first = layouts[0]
    for other in layouts[1:]:
        if len(other.x) != len(first.x):
            raise DataError(f"{other.path}: expected {len(first.x)} columns as in {first.path}. Received: {len(other.x)}.")
        if first.names and other.names and first.names != other.names:
            j = next(j for j in range(len(first.x)) if first.names[j] != other.names[j])
            raise DataError(
                f"{other.path}: expected column {other.x[j] + 1} to be {first.names[j]!r} as in {first.path}. "
                f"Received: {other.names[j]!r}."
            )


def _place(path, columns, name, purpose):
    names = columns.names
    if names is None or name not in names:
        has = _listed(names) if names else f"{columns.width} columns without names"
        raise DataError(f"{path} has no column {name!r}{purpose}.{did_you_mean(name, names or ())} It has: {has}.")
    places = [str(i + 1) for i, other in enumerate(names) if other == name]
    if len(places) > 1:
        raise DataError(
            f"{path}: column {name!r}{purpose} is not one: columns {' and '.join(places)} have that name. Rename all but one."
        )
    return names.index(name)


def _check_numbers(columns, places):
    bad = [i for i in sorted(places) if i in columns.no_numbers]
    if not bad:
        return
    called = [repr(columns.names[i]) if columns.names else str(i + 1) for i in bad]
    what = "; ".join(dict.fromkeys(columns.no_numbers[i] for i in bad))
    way_out = ""
    if columns.names:
        way_out = f" They are left out by ignore (--ignore={shlex.quote(','.join(columns.names[i] for i in bad))})."
    raise DataError(
        f"{columns.where}, column{'s' if len(bad) > 1 else ''} {', '.join(called)}: expected numbers. Received: {what}.{way_out}"
    )


def _order(path, here, expected):
    """Where each of the names `expected` stands in `here`; each place itself where no name is known."""
    in_place = list(range(len(here)))
    if here == list(expected):
        return in_place
    what = f"Expected: {_listed(expected)}. Received: {_listed(here)}."
    if not set(here) & set(expected):
        if len(here) == len(expected):
            warnings.warn(f"{path} has other names of columns, which are taken by their places. {what}", stacklevel=2)
        return in_place
    for name in expected:
        if name not in here:
            raise DataError(f"{path} has no column {name!r}. {what}")
    more = [name for name in here if name not in expected]
    if more:
        way_out = f"It is left out by ignore (--ignore={shlex.quote(','.join(more))})."
        raise DataError(f"{path} has a column {more[0]!r}, which is not expected. {what} {way_out}")
    if len(set(here)) < len(here) or len(here) != len(expected):
        raise DataError(f"{path}: columns that share a name cannot be put in order by it. {what}")
    return [here.index(name) for name in expected]


def _listed(names: Collection[str]):
    return textwrap.shorten(", ".join(names), 200, placeholder=" ...")


def printable(name: str) -> str:
    """A name as it may be shown: what steers a terminal is written out."""
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c)[0] == "C" else c for c in name)
