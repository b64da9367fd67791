"""The API reference, which tools/docs.sh builds from docstrings."""

import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import tfdgm

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = re.findall(r"^   (tfdgm[\w.]*)$", (ROOT / "docs/reference/index.rst").read_text(), flags=re.MULTILINE)
#: A formula, shapes, units, arguments, an example, or a word of code.
SAYS = re.compile(r"=|\[|nats|seconds|Args:|Attributes:|>>>|^    \S|`|\bint32\b", flags=re.MULTILINE)


def test_it_has_every_package():
    packages = {f"tfdgm.{module.name}" for module in pkgutil.iter_modules(tfdgm.__path__) if module.ispkg}
    assert set(PACKAGES) == {"tfdgm", *packages} - {"tfdgm.cli"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_says_what_it_is(package):
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    assert set(module.__all__) <= set(dir(module))  # Or the generator does not see what is loaded late.
    unclear = []
    for name, value in ((name, getattr(module, name)) for name in module.__all__):
        if inspect.isclass(value) or inspect.isfunction(value):
            text = inspect.cleandoc(value.__doc__ or "")
            plain = issubclass(value, Exception) if inspect.isclass(value) else not inspect.signature(value).parameters
            unclear += [] if text and (plain or SAYS.search(text)) else [name]
        if inspect.isclass(value):
            own = {key for key in vars(value) if not key.startswith("_") and not any(hasattr(b, key) for b in value.__mro__[1:])}
            unclear += [f"{name}.{key}" for key in own if inspect.isfunction(vars(value)[key]) and not vars(value)[key].__doc__]
    assert not unclear, "these need a docstring, with a formula, shapes, units, arguments or an example"
