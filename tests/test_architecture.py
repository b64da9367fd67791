"""DESIGN's import order, held by walking the imports."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import tfdgm

PACKAGE = pathlib.Path(tfdgm.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOT = PACKAGE.parent

# Each may import what stands below it (a higher number); packages of one number leave each other alone, except by name.
LEVELS = {
    "cli": 0,
    "zoo": 1,
    "tasks": 1,
    "models": 2,
    "distributions": 3,
    "training": 3,
    "serving": 3,
    "bijectors": 4,
    "networks": 4,
    "elementwise": 5,
    "families": 5,
    "layers": 6,
    "data": 6,
    "event": 7,
    "keras_weights": 7,
    "arguments": 8,
    "columns": 6,
    "expanded": 8,
    "from_outside": 8,
    "frozen_random": 8,
    "printable": 8,
    "traced": 8,
    "unknown_name": 8,
    "written_aside": 8,
    "_keras_compat": 8,
}
NEUTRAL = ("layers", "networks", "families", "elementwise")


def name(path):
    return str(path.relative_to(PACKAGE))


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree):
    """(module, at module level) of every import; `from tfdgm import models` counts as tfdgm.models."""
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            modules = [f"tfdgm.{alias.name}" for alias in node.names] if node.module == "tfdgm" else [node.module]
            yield from ((module, id(node) in top) for module in modules)


def parsed(path):
    return ast.parse(path.read_text())


every_file = pytest.mark.parametrize("path", FILES, ids=name)


@every_file
def test_imports_go_down_only(path):
    here = package_of(path)
    if here in ("__init__", "__main__"):
        return
    for module, _ in imports(parsed(path)):
        parts = module.split(".")
        if parts[0] != "tfdgm" or len(parts) == 1 or parts[1] == here or parts[1] not in LEVELS:
            continue
        assert LEVELS[parts[1]] > LEVELS[here] or (LEVELS[parts[1]] == LEVELS[here] and here == "zoo"), f"{here} imports {module}"


def test_every_package_has_its_place():
    packages = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert packages <= set(LEVELS)


@every_file
def test_keras_2_and_private_apis_are_not_used(path):
    for module, _ in imports(parsed(path)):
        assert module.split(".")[0] != "tf_keras"
        assert not module.startswith("tensorflow_probability.python")
        assert not module.startswith("keras.src") or path.name == "_keras_compat.py"
    if path.name != "_keras_compat.py":
        names = ast.walk(parsed(path))
        attributes = {ast.unparse(node) for node in names if isinstance(node, ast.Attribute)}
        assert not {a for a in attributes if a.startswith(("keras.src", "tf.keras", "tfp.python", "tfp.layers", "tf_keras"))}


#: Private names that are read from outside the object that has them.
READ_FROM_OUTSIDE = {
    "_arguments": "models/density_model.py",  # In `__new__` and in a class method, of the model being made.
    "_set_distribution": "models/density_model.py",
    "_condition_terms": "networks/made_blocks.py",  # The network's, whose blocks these are.
}


@every_file
def test_private_members_are_left_to_their_owners(path):
    if name(path) == "_keras_compat.py":
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            own = ast.unparse(node.value) in ("self", "cls", "super()")
            assert own or READ_FROM_OUTSIDE.get(node.attr) == name(path), f"line {node.lineno}: {ast.unparse(node)}"


#: Where there is no distribution to ask: layers and classes of networks, under any backend of Keras.
ASK_FOR_NETWORKS = ("training/mixed_precision.py", "zoo/any_backend_trainer.py")
#: What users hand in: tables and tensors; and data sets of TFDS.
ASK_FOR_ATTRIBUTES = ("models/arguments.py", "columns.py", "data/tfds_sets.py")


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if package_of(p) not in ("distributions", "networks", "families", "bijectors", "elementwise")],
    ids=name,
)
def test_capabilities_are_declared_and_not_found_by_class(path):
    """A distribution, a network and a family say what they can do. Models ask at their door whether they got one."""
    ours = (tfdgm.distributions, tfdgm.networks, tfdgm.families)
    classes = {public for package in ours for public in package.__all__ if public[0].isupper()}
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in ("isinstance", "issubclass"):
            named = {ast.unparse(part).split(".")[-1] for part in ast.walk(node.args[1])} & classes
            at_the_door = named == {"Distribution"} and name(path) == "models/density_model.py"
            assert not named or at_the_door or name(path) in ASK_FOR_NETWORKS, f"line {node.lineno}: {ast.unparse(node)}"
        assert node.func.id != "hasattr" or name(path) in ASK_FOR_ATTRIBUTES, f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", [p for p in FILES if package_of(p) in NEUTRAL], ids=name)
def test_layers_networks_and_families_are_backend_neutral(path):
    allowed = set(sys.stdlib_module_names) | {"keras", "numpy", "tfdgm"}
    for module, at_top in imports(parsed(path)):
        if at_top:
            assert module.split(".")[0] in allowed, module


def test_importing_tfdgm_alone_imports_nothing_heavy():
    code = "import sys, tfdgm; print([m for m in ('tensorflow', 'keras', 'numpy', 'tensorflow_probability') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_neutral_packages_do_not_import_tfp():
    code = (
        "import sys, tfdgm.layers, tfdgm.networks, tfdgm.families, tfdgm.elementwise;"
        "print([m for m in sys.modules if m.split('.')[0] in ('tensorflow_probability', 'tf_keras')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if package_of(p) in ("layers", "networks", "families", "bijectors", "distributions", "models")],
    ids=name,
)
def test_one_public_class_a_file_named_after_it(path):
    classes = [node.name for node in parsed(path).body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert len(classes) <= 1
    if classes:
        assert classes[0].lower() == path.stem.replace("_", "")


@every_file
def test_public_classes_and_functions_have_docstrings(path):
    for node in parsed(path).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_") and package_of(path) != "cli":
            assert ast.get_docstring(node), node.name


def test_no_absolute_paths():
    # Of a home, a work place or a temporary folder: what runs here must run elsewhere.
    pattern = re.compile(r"""["'`](/(home|root|work|Users|tmp|opt|mnt|data)/[^"'`]*)""")
    for path in [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "tools").glob("*")]:
        if path.is_file() and path != pathlib.Path(__file__):
            assert not pattern.search(path.read_text()), path


def test_public_names_are_there():
    for package in ("layers", "networks", "families", "bijectors", "distributions", "models", "serving", "training", "tasks"):
        module = getattr(tfdgm, package)
        for public in module.__all__:
            assert hasattr(module, public)
    assert callable(tfdgm.verify) and callable(tfdgm.load) and issubclass(tfdgm.models.MAF, tfdgm.DensityModel)
