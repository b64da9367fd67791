import contextlib
import contextvars

_first_row = contextvars.ContextVar("tfdgm_first_noise_row", default=0)


@contextlib.contextmanager
def noise_from_row(first_row):
    """While this is open, noise made in training is that of rows `first_row`, `first_row` + 1, ... of a batch.

    A batch that is spread over replicas then gets the noise it gets on one, and no two replicas the same.
    """
    token = _first_row.set(first_row)
    try:
        yield
    finally:
        _first_row.reset(token)


def first_noise_row():
    """The row given to `noise_from_row`, 0 without."""
    return _first_row.get()
