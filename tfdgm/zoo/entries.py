"""Where the zoo lies, and what is in it. Imports no TensorFlow."""

import os
import pathlib

from tfdgm.from_outside import OutsideError, parse_json, read_text
from tfdgm.unknown_name import unknown_name


class ZooError(ValueError):
    """A zoo entry that is not there, or whose card cannot be read."""


def folders():
    """The folders of entries: `TFDGM_ZOO_DIR` where set, then the repository's `zoo`, or `tfdgm/zoo/entries` when installed."""
    here = pathlib.Path(__file__).resolve().parent
    own = [os.environ["TFDGM_ZOO_DIR"]] if os.environ.get("TFDGM_ZOO_DIR") else []
    return [path for path in map(pathlib.Path, (*own, here.parents[1] / "zoo", here / "entries")) if path.is_dir()]


def names():
    """The names of all entries that hold a trained model."""
    return sorted({path.parent.name for folder in folders() for path in folder.glob("*/card.json")})


def recipe_names():
    """The names of all entries that have a recipe, trained or not."""
    return sorted({path.parent.name for folder in folders() for path in folder.glob("*/recipe.toml")})


def find(name):
    """The folder of the entry `name`; a ZooError that suggests the nearest for a name that is none."""
    for folder in folders():
        if is_name(name) and (folder / name / "card.json").exists():
            return folder / name
    untrained = " Its recipe is there, but no run yet: `tfdgm train` makes it." if str(name) in recipe_names() else ""
    raise ZooError(f"{unknown_name('zoo entry', name, names())}{untrained}")


def find_recipe(name):
    """The recipe.toml of the entry `name`, trained or not."""
    for folder in folders():
        if is_name(name) and (folder / name / "recipe.toml").is_file():
            return folder / name / "recipe.toml"
    raise ZooError(unknown_name("recipe", name, recipe_names()))


def is_name(text):
    """Whether `text` has the form of an entry's name, and not of a path."""
    return isinstance(text, str) and text not in ("", ".", "..") and not set(text) & set("/\\")


def card(name):
    """The card of an entry, by name or folder: a dict, as the run wrote it: `card("maf_digits")["test"]["nll"]`, nats."""
    path = pathlib.Path(name) if not is_name(name) or pathlib.Path(name, "card.json").exists() else find(name)
    try:
        return parse_json(read_text(path / "card.json"))
    except FileNotFoundError:
        raise ZooError(f"{path} holds no card.json: it is no zoo entry and no finished run.") from None
    except (OutsideError, OSError) as error:
        raise ZooError(f"{path / 'card.json'} is damaged: {error}") from None
