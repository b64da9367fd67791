"""The folder of a run, while it trains and when it has."""

import json

from tfdgm.training import Checkpoints
from tfdgm.written_aside import written_aside
from tfdgm.zoo.recipe import PLACES, STATES, Recipe, RecipeError

#: What a run under another backend than TensorFlow leaves in its folder, for `tfdgm export`.
RECORD, WEIGHTS = "record.json", "weights.weights.h5"
_OUTPUTS = ("card.json", "curves.png", "samples.png", "1", RECORD, WEIGHTS)
#: In the folder of the state: this run has begun to write what it leaves.
_WRITING = "writing"


def state_folders(folder):
    """Of the state of a run that trains, and of the last state of one that is finished."""
    return [folder / name for name in STATES]


def check(folder, recipe, restart):
    """Refuses to lose what is there. A finished run may go on with more epochs, or more patience."""
    if folder.exists() and not folder.is_dir():
        raise RecipeError(f"The folder of the run (--output) is a file: {folder}")
    _check_ours(folder)
    if restart:
        return
    copy = folder / "recipe.toml"
    there = Recipe.read(copy) if copy.exists() else None
    checkpoints, last = map(Checkpoints, state_folders(folder))
    if _is_finished(folder) and not checkpoints.exist() and not (there and last.exist() and _goes_further(recipe, there)):
        more = f"more epochs than {there.training['epochs']} (--epochs)" if there else "more epochs"
        more += "" if last.exist() else ", which needs its last state; it is not there"
        raise RecipeError(
            f"{folder} holds a finished run. Start over (--restart), go on with {more}, or choose another folder (--output)."
        )
    if there and copy.read_text() != recipe.to_toml() and there.but_for_its_end != recipe.but_for_its_end:
        raise RecipeError(
            f"{copy} is another recipe than the one given. Start over (--restart), or choose another folder (--output)."
        )


def _goes_further(recipe, there):
    new, old = ((of.training["epochs"], of.training["patience"] or float("inf")) for of in (recipe, there))
    return new[0] > old[0] or new[1] > old[1]


def identity(recipe):
    """What a state must have been trained by, to be gone on with."""
    return {section: values for section, values in recipe.but_for_its_end.items() if section != "published"}


def begin(folder, recipe, restart):
    """Leaves recipe.toml in the folder, and no state of an earlier run with `restart`. Called when the first state of this one
    is there to be written: a start that failed leaves nothing behind."""
    if restart:
        for states in state_folders(folder):
            _remove_state(states)
    write_text(folder / "recipe.toml", recipe.to_toml())
    write_text(folder / STATES[0] / PLACES, json.dumps(recipe.places()))


def begin_outputs(folder):
    """Before a run writes what it leaves: refuses to replace what is not a run's."""
    _check_ours(folder)
    (folder / STATES[0] / _WRITING).touch()


def finish(folder):
    """Keeps the last state, so that the run can go on, in the place of an earlier one."""
    checkpoints, last = state_folders(folder)
    _remove_state(last)
    (checkpoints / _WRITING).unlink(missing_ok=True)
    try:
        checkpoints.rename(last)
    except OSError:  # Somebody keeps something there.
        for path in _state_files(checkpoints):
            path.replace(last / path.name)
        _remove_state(checkpoints)


def _remove_state(folder):
    for path in _state_files(folder):
        path.unlink()
    Checkpoints(folder).remove()


def _state_files(folder):
    return [*Checkpoints(folder).files(), *(folder / name for name in (PLACES, _WRITING) if (folder / name).exists())]


def write_text(path, text):
    """Written aside first."""
    with written_aside(path) as file:
        file.write(text.encode())


def _check_ours(folder):
    """A folder that is empty, holds a recipe, or is a run: in others nothing is ours to replace."""
    if not folder.exists() or _is_finished(folder) or (folder / STATES[0] / _WRITING).exists():
        return
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {"tensorboard"}
    for states in state_folders(folder):
        if (states.is_dir() and len(_state_files(states)) == len(list(states.iterdir()))) or Checkpoints(states).exist():
            there -= {states.name}
    foreign = there & {*_OUTPUTS, *STATES} if "recipe.toml" in there else there
    if foreign:
        raise RecipeError(
            f"{folder} holds {', '.join(sorted(foreign)[:5])}, which no run has written. Choose another folder (--output)."
        )


def _is_finished(folder):
    for name, key in (("card.json", "training"), (RECORD, "recipe")):
        try:
            if key in json.loads((folder / name).read_text()):
                return True
        except (OSError, ValueError, TypeError):
            pass
    return False
