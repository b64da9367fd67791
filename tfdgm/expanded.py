import os
import pathlib


def expanded(path):
    """The path with `~` and `~user` expanded; a ValueError where there is no such home."""
    path = pathlib.Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(
            f"The home folder that {os.fspath(path)!r} names is not known; ./~ means a folder of that name."
        ) from None
