"""The examples in the docstrings of the named models run, and print what they say."""

import doctest

import numpy as np
import pytest

import tfdgm

# The base class is no model by itself.
NAMES = sorted({*tfdgm.models.__all__} - {"DensityModel"})


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_s_example_runs(name, eagerly):
    finder = doctest.DocTestFinder(recurse=False)
    [example] = finder.find(getattr(tfdgm.models, name), name, globs={"np": np, "tfdgm": tfdgm})
    assert len(example.examples) > 4
    report = []
    failed, _ = doctest.DocTestRunner().run(example, out=report.append)
    assert not failed, "".join(report)
