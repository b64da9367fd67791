"""The cases of all models, for what is asked of several of them at once; each is written in its model's own test file."""

import importlib

import pytest
from contracts.model import ModelContract

import tfdgm


def _cases():
    for name in sorted(set(tfdgm.models.__all__) - {"DensityModel"}):
        path = getattr(tfdgm.models, name).__module__.split(".")
        module = importlib.import_module(f"models.test_{path[-1]}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, ModelContract) and value.name:
                yield value


#: {name: the subclass of `ModelCase`}.
CASES = {case.name: case for case in _cases()}


def model_cases(*names, slow=()):
    """Parametrizes a test over the named cases; those in `slow` are marked so."""
    marked = [(name, []) for name in names] + [(name, [pytest.mark.slow]) for name in slow]
    return pytest.mark.parametrize("case", [pytest.param(CASES[name], id=name, marks=marks) for name, marks in marked])
