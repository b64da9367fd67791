import contextlib
import os
import pathlib


@contextlib.contextmanager
def written_aside(path):
    """A binary file that becomes `path` when all is on disk; until then, and after an error, `path` is what it was."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    try:
        with open(aside, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    os.replace(aside, path)
