"""The exceptions of `tfdgm.data`."""


class DataError(ValueError):
    """Data that is missing, damaged, or not what was asked for; it says what was expected and what came."""


class NotHere(DataError):
    """A named set that cannot be had here: no source files, no network. Nothing that is here is damaged."""
