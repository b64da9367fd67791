"""What users name on a command line -> models, data and conditions. TensorFlow is imported when these are called."""

import pathlib

import numpy as np

from tfdgm.cli.usage import UsageError
from tfdgm.zoo import RecipeError, ZooError, entries
from tfdgm.zoo.recipe import Recipe


def load_model(name):
    """The model of a zoo name, a run's folder or a SavedModel."""
    from tfdgm.zoo.loading import load

    return load(name)


def recipe_of(name):
    """The recipe beside a model, or None: its data section says what the model was trained on."""
    try:
        return Recipe.read(entries.find(name) if name in entries.names() else f"{name}/recipe.toml")
    except (RecipeError, ZooError, OSError):
        return None


def columns_of(name):
    """The names of the columns that a model was trained on, from the card beside it; None where there are none."""
    folders = [pathlib.Path(name), pathlib.Path(name).absolute().parent]  # A run's folder, or the version in it.
    if name in entries.names():
        folders = [entries.find(name)]
    card = next((entries.card(folder) for folder in folders if (folder / "card.json").is_file()), {})
    return card.get("data", {}).get("columns")


def load_splits(model, name, source, *, condition=None, data_dir=None):
    """The splits of `source`, or of what the model was trained on; of that, the same splits as in its training."""
    from tfdgm import data

    recipe = recipe_of(name)
    if source is None and recipe is None:
        raise UsageError(f"--data is needed: {name} has no recipe that says what it was trained on.")
    options = {}
    if recipe is not None and source in (None, recipe.data["source"]):
        options = {key: value for key, value in recipe.data.items() if value is not None and key not in ("source", "levels")}
        source = recipe.data["source"]
    if condition is not None:
        options["condition"] = condition
    if model.condition_shape is not None and "condition" not in options:
        raise UsageError("This model needs a condition: --condition=label, or the names of columns.")
    data.check_columns(source, columns_of(name), options.get("condition"))
    splits = data.load(source, data_dir=data_dir, levels=model.levels, **options)
    if np.prod(splits.event_shape) != np.prod(model.event_shape):
        raise data.DataError(f"Expected rows of event_shape={model.event_shape}. Received: {splits.event_shape} in {source}.")
    return splits


def reshaped(model, dataset):
    """A tf.data of x or (x, condition) with each x in the model's event shape."""
    import tensorflow as tf

    def reshape(x, *condition):
        x = tf.reshape(x, (-1, *model.event_shape))
        return (x, *condition) if condition else x

    return dataset.map(reshape)


def parse_condition(model, text):
    """The condition of a command line: numbers "0.5,2", or a class "3" where conditions are one-hot [k]."""
    if text is None:
        if model.condition_shape is not None:
            raise UsageError(f"This model needs --condition: {_expected(model)}.")
        return None
    if model.condition_shape is None:
        raise UsageError("This model takes no --condition.")
    try:
        values = np.array([float(v) for v in text.replace(" ", "").split(",")], np.float32)
    except ValueError:
        raise UsageError(f"--condition expects {_expected(model)}. Received: {text}") from None
    size = int(np.prod(model.condition_shape))
    if len(values) == 1 and size > 1 and values[0] in range(size):
        values = np.eye(size, dtype=np.float32)[int(values[0])]
    if len(values) != size:
        raise UsageError(f"--condition expects {_expected(model)}. Received: {text}")
    return values.reshape(model.condition_shape)


def _expected(model):
    size = int(np.prod(model.condition_shape))
    return f"{size} numbers, or a class 0..{size - 1}" if size > 1 else "a number"
