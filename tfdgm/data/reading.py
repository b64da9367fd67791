"""How files are read, where they do not say it themselves."""

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

from tfdgm.data.data_error import DataError
from tfdgm.unknown_name import unknown_name


@dataclasses.dataclass(frozen=True)
class Reading:
    """How tables and images are read. None: as the file itself says; what is ambiguous is an error that names the option.

    Args:
      header: whether the first line of a csv holds names.
      keep: names of the columns that are x, in this order; all others but the condition are left out. A pandas index is read
        where it is named here.
      ignore: names of columns that are left out.
      delimiter: between the cells of a csv: ",", ";", a tab ("\\t" and "tab" are taken for one), ...
      decimal: what stands before the decimals of a csv's numbers: "." or ",".
      encoding: of a csv: "utf-8", "cp1252", ...
      size: (height, width) that images are brought to.
      fit: how: "resize", or "crop" of the centre.
      color: whether images are read with three channels (True), or one (False).

    Raises:
      DataError: for values that are none of these.
    """

    header: bool | None = None
    keep: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    size: tuple[int, int] | None = None
    fit: str | None = None
    color: bool | None = None

    def __post_init__(self):
        if self.delimiter in ("\\t", "tab"):
            object.__setattr__(self, "delimiter", "\t")
        for name in ("keep", "ignore", "size"):  # Of a recipe or a command line.
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "ignore", () if self.ignore is None else self.ignore)
        for name, (expected, is_good) in _VALUES.items():
            value = getattr(self, name)
            if value is not None and not is_good(value):
                raise DataError(f"Expected {name} to be {expected}. Received: {name}={value!r}.")
        both = set(self.keep or ()) & set(self.ignore)
        if both:
            raise DataError(f"A column is in keep or in ignore, not in both. Received: {', '.join(sorted(both))}.")

    @classmethod
    def of(cls, options: "Reading | Mapping[str, Any] | None") -> "Reading":
        """From a `Reading`, a dict of its arguments, or None.

        Raises:
          DataError: for options that are not known, or of another kind.
        """
        if isinstance(options, cls):
            return options
        for name in options or {}:
            if name not in NAMES:
                raise DataError(unknown_name("option of reading files", name, NAMES))
        return cls(**(options or {}))

    def given(self) -> dict[str, Any]:
        """The options that are not their defaults."""
        return {name: getattr(self, name) for name in NAMES if getattr(self, name) != getattr(PLAIN, name)}


def _are_names(value):
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


def _is_encoding(value):
    try:
        return isinstance(value, str) and bool("1".encode(value))
    except (LookupError, ValueError):  # Also of codecs that are of no text.
        return False


def _is_size(value):
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(n, numbers.Integral) and n > 0 for n in value)


#: What each option may be: in words, and a function that tells.
_VALUES = {
    "header": ("True or False", lambda value: isinstance(value, bool)),
    "keep": ("a list of different names", lambda value: _are_names(value) and value),
    "ignore": ("a list of different names", _are_names),
    "delimiter": (
        "one character, no letter, digit, quote or line break",
        lambda value: isinstance(value, str) and len(value) == 1 and value not in '"\r\n.+-' and not value.isalnum(),
    ),
    "decimal": ("'.' or ','", lambda value: value in (".", ",")),
    "encoding": ("the name of an encoding of text, as 'utf-8' or 'cp1252'", _is_encoding),
    "size": ("(height, width)", _is_size),
    "fit": ("'resize' or 'crop'", lambda value: value in ("resize", "crop")),
    "color": ("True or False", lambda value: isinstance(value, bool)),
}
#: Nothing said.
PLAIN = Reading()
NAMES = tuple(field.name for field in dataclasses.fields(Reading))
