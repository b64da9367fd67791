"""Generative models with tractable likelihood for TensorFlow and Keras.

Start with `tfdgm.load("maf_digits")` for a pretrained model, or `tfdgm.models.MAF(event_shape=(43,))` and `fit` for your own.
"""

import importlib

__version__ = "0.1.0"

_SUBPACKAGES = (
    "bijectors", "data", "distributions", "elementwise", "families", "layers", "models", "networks", "serving", "tasks",
    "training", "zoo",
)  # fmt: skip
_NAMES = {"DensityModel": "models", "Event": "event", "load": "zoo", "verify": "tasks"}

__all__ = [*_NAMES, *_SUBPACKAGES]


def __getattr__(name):
    # Lazy, so that layers, networks and families import where TensorFlow is not installed.
    if name in _SUBPACKAGES:
        return importlib.import_module(f"tfdgm.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"tfdgm.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'tfdgm' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, "__version__"])
