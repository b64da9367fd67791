"""Files and folders that are written aside first, by one process at a time."""

import contextlib
import fcntl
import glob
import os
import pathlib
import shutil
import socket
import uuid


class BusyError(OSError):
    """What another process is writing."""


@contextlib.contextmanager
def written_aside(path, overwrite=True):
    """A binary file that becomes `path` when all is on disk; until then, and after an error, `path` is what it was.

    Without `overwrite` a FileExistsError where there is a file, at the beginning or by the end."""
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file to write. Received the folder {path}")
    with locked(path):
        if not overwrite and os.path.lexists(path):
            raise _exists(path)
        with aside_of(path) as aside:
            with open(aside, "x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _put(aside, path, overwrite)


def _put(aside, path, overwrite):
    if not overwrite:
        try:
            os.link(aside, path)
            return
        except FileExistsError:
            raise _exists(path) from None
        except OSError:  # A file system without hard links.
            if os.path.lexists(path):
                raise _exists(path) from None
    os.replace(aside, path)


def _exists(path):
    return FileExistsError(f"{path} exists already: choose another name, or --overwrite.")


@contextlib.contextmanager
def aside_of(path, suffix=".new"):
    """A name beside `path` that nothing has. What is there at the end is removed, and what a kill left of earlier ones; so only
    inside `locked`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 32}{suffix}"):
        _remove(left)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{suffix}")
    try:
        yield aside
    finally:
        _remove(aside)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path):
    """Lets one process in at a time for a `path`, and makes its folder; others get a `BusyError` that says who is in.

    The lock is on the file `.NAME.lock` beside it, and falls with its process however that ends. A folder that was made for it
    and in which nothing is at the end is removed."""
    path = pathlib.Path(path)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    try:
        file = _lock(path, lock)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            os.close(file)
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def _lock(path, lock):
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.read(file, 300).decode(errors="replace") or "another process"
            os.close(file)
            raise BusyError(f"{path} is being written by {who}.") from None
        except OSError:  # A file system without locks.
            pass
        try:
            still = os.path.samestat(os.fstat(file), os.stat(lock))
        except FileNotFoundError:
            still = False
        if still:
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return file
        os.close(file)  # The one that held it has removed it in between.
