import contextlib
import os


def import_tensorflow():
    """Imports TensorFlow, for Keras too, without its log lines; errors still come."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _no_stderr():  # The first lines come before TensorFlow reads that variable (2.21).
        import tensorflow  # noqa: F401
    from absl import logging

    logging.set_verbosity(logging.ERROR)


def keras_backend():
    """The backend that Keras is set to, by the environment's KERAS_BACKEND or its keras.json: "tensorflow", "jax", "torch"."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _no_stderr():
        import keras
    return keras.backend.backend()


@contextlib.contextmanager
def _no_stderr():
    # Of the process and not only of Python: these lines are C++'s.
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
