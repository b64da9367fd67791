"""The model zoo: pretrained entries by name, and the runs that make them.

    tfdgm.zoo.names()                 # what there is
    tfdgm.load("maf_digits")          # a model, ready to score, sample and fit on
    tfdgm.zoo.train("my/recipe.toml", "runs/mine")

An entry is a folder: recipe.toml (a person writes), card.json, curves.png, samples.png and the SavedModel 1/ (a run writes).
"""

import importlib

from tfdgm.zoo.entries import ZooError, card, find, names
from tfdgm.zoo.recipe import Recipe, RecipeError

_LAZY = {"load": "loading", "train": "training_run", "evaluate": "evaluation"}

__all__ = ["Recipe", "RecipeError", "ZooError", "card", "evaluate", "find", "load", "names", "train"]


def __getattr__(name):
    # Lazy, so that names and cards are read without importing TensorFlow.
    if name in _LAZY:
        return getattr(importlib.import_module(f"tfdgm.zoo.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'tfdgm.zoo' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
