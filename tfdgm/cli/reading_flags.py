"""The flags that say how files are read, of every command that reads some."""

from typing import Any

from absl import flags

from tfdgm.cli.usage import UsageError


def define(of: flags.FlagValues) -> None:
    """Defines them in a command's flags."""
    header = "Whether the first line of a csv holds names (--noheader or --no_header: it is a row). Default: found."
    flags.DEFINE_bool("header", None, header, flag_values=of)
    flags.DEFINE_list("columns", None, "Names of the columns that x is, with commas between.", flag_values=of)
    flags.DEFINE_list("ignore", None, "Names of columns to leave out, with commas between.", flag_values=of)
    flags.DEFINE_string("delimiter", None, "Between the cells of a csv: , ; tab ... Default: found.", flag_values=of)
    flags.DEFINE_string("decimal", None, "What stands before the decimals in a csv: . or , Default: found.", flag_values=of)
    flags.DEFINE_string("encoding", None, "Of a csv: cp1252, utf-16, ... Default: found.", flag_values=of)
    flags.DEFINE_string("size", None, "HEIGHTxWIDTH that images are brought to, e.g. 32x32.", flag_values=of)
    flags.DEFINE_enum("fit", None, ["resize", "crop"], "How images come to --size. Default: resize.", flag_values=of)
    flags.DEFINE_bool("color", None, "Whether images are read with three channels (--nocolor: one).", flag_values=of)


def given(values: flags.FlagValues) -> dict[str, Any]:
    """The arguments of `tfdgm.data.Reading` that the command line gives."""
    options = {name: values[name].value for name in ("header", "ignore", "delimiter", "decimal", "encoding", "fit", "color")}
    options |= {"keep": values["columns"].value, "size": values["size"].value and _size(values["size"].value)}
    return {name: value for name, value in options.items() if value is not None}


def _size(text):
    height, times, width = text.lower().partition("x")
    if not (times and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--size expects HEIGHTxWIDTH, e.g. 32x32. Received: {text}")
    return [int(height), int(width)]
