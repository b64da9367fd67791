"""Public signatures say what they take and return."""

import ast
import pathlib

import pytest

import tfdgm

PACKAGE = pathlib.Path(tfdgm.__file__).parent
#: Of these all public functions and methods.
WHOLE = ("bijectors", "data", "models", "serving", "training")
#: Of these what makes an object: the rest takes and returns tensors of any backend, for which Keras has no name.
NEUTRAL = ("elementwise", "layers", "networks")
#: As those, within a package of TensorFlow: a model of any backend.
NEUTRAL_FILES = ("autoregressive_trainer.py",)
FILES = [p for package in (*WHOLE, *NEUTRAL) for p in sorted((PACKAGE / package).rglob("*.py"))]


def public_functions(path):
    """The public functions of a file and the public methods of its public classes, `__init__` included."""
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        functions = [each for each in inner if isinstance(each, ast.FunctionDef)]
        yield from (f for f in functions if f.name == "__init__" or not f.name.startswith("_"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_signatures_are_annotated(path):
    is_neutral = path.relative_to(PACKAGE).parts[0] in NEUTRAL or path.name in NEUTRAL_FILES
    for function in public_functions(path):
        if is_neutral and function.name != "__init__":
            continue
        arguments = function.args
        bare = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs) if a.annotation is None]
        assert not set(bare) - {"self", "cls"}, f"{function.name}, line {function.lineno}: {bare}"
        assert function.returns or function.name == "__init__", f"{function.name}, line {function.lineno}: what it returns"
