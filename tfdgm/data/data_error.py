"""The one exception of `tfdgm.data`."""


class DataError(ValueError):
    """Data that is missing, damaged, or not what was asked for; it says what was expected and what came."""
