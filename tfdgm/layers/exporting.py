import contextlib
import contextvars

_exporting = contextvars.ContextVar("tfdgm_exporting", default=False)


@contextlib.contextmanager
def exporting():
    """While this is open, traced functions hold core TensorFlow ops only, as TF Serving needs them (and XLA refuses them)."""
    token = _exporting.set(True)
    try:
        yield
    finally:
        _exporting.reset(token)


def is_exporting():
    """Whether `exporting` is open."""
    return _exporting.get()
