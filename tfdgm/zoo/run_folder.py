"""The folder of a run, while it trains and when it has."""

from tfdgm.training import Checkpoints
from tfdgm.written_aside import written_aside
from tfdgm.zoo.recipe import Recipe, RecipeError

#: What a run under another backend than TensorFlow leaves in its folder, for `tfdgm export`.
RECORD, WEIGHTS = "record.json", "weights.weights.h5"


def check(folder, recipe, restart):
    """Refuses to lose what is there."""
    if folder.exists() and not folder.is_dir():
        raise RecipeError(f"The folder of the run (--output) is a file: {folder}")
    if restart:
        return
    if not (folder / "checkpoints").exists() and any((folder / name).exists() for name in ("card.json", RECORD)):
        raise RecipeError(f"{folder} holds a finished run. Start over (--restart), or choose another folder (--output).")
    copy = folder / "recipe.toml"
    if copy.exists() and copy.read_text() != recipe.to_toml() and Recipe.read(copy).sections != recipe.sections:
        raise RecipeError(
            f"{copy} is another recipe than the one given. Start over (--restart), or choose another folder (--output)."
        )


def prepare(folder, recipe, restart):
    """Leaves recipe.toml in the folder, and no state of an earlier run with `restart`. Called when data and model are there: a
    start that failed leaves nothing behind."""
    if restart:
        Checkpoints(folder / "checkpoints").remove()
    write_text(folder / "recipe.toml", recipe.to_toml())


def write_text(path, text):
    """Written aside first."""
    with written_aside(path) as file:
        file.write(text.encode())
