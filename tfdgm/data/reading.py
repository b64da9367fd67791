"""How files are read, where they do not say it themselves."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfdgm.data.data_error import DataError
from tfdgm.unknown_name import unknown_name


@dataclasses.dataclass(frozen=True)
class Reading:
    """How tables and images are read. None: as the file itself says; what is ambiguous is an error that names the option.

    Args:
      header: whether the first line of a csv holds names.
      keep: names of the columns that are read; all others are left out.
      ignore: names of columns that are left out.
      delimiter: between the cells of a csv: ",", ";", tab, ...
      decimal: what stands before the decimals of a csv's numbers: "." or ",".
      encoding: of a csv: "utf-8", "cp1252", ...
      size: (height, width) that images are brought to.
      fit: how: "resize", or "crop" of the centre.
      color: whether images are read with three channels (True), or one (False).
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


#: Nothing said.
PLAIN = Reading()
NAMES = tuple(field.name for field in dataclasses.fields(Reading))
