"""What users name on a command line -> models, data and conditions. TensorFlow is imported when these are called."""

import warnings

import numpy as np

from tfdgm.cli.usage import UsageError
from tfdgm.data.reading import NAMES as READING
from tfdgm.expanded import expanded
from tfdgm.zoo import RecipeError, ZooError, entries
from tfdgm.zoo.cards import Card
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
    data = _trained_on(name)
    return data and data.columns


def reading_of(name, given):
    """How files are read for a model: as `given`, else as those that it was trained on (`name` None: none are known)."""
    recipe = None if name is None else recipe_of(name)
    trained = {} if recipe is None else {key: recipe.data[key] for key in READING if recipe.data[key] is not None}
    return {**trained, **given}


def _trained_on(name):
    """The data of the card beside a model, None where there is none."""
    folders = [expanded(name), expanded(name).absolute().parent]  # A run's folder, or the version in it.
    if name in entries.names():
        folders = [entries.find(name)]
    return next((Card.of(folder).data for folder in folders if (folder / "card.json").is_file()), None)


def load_splits(model, name, source, *, condition=None, data_dir=None, reading=None):
    """The splits of `source`, or of what the model was trained on; of that, the same splits as in its training."""
    from tfdgm import data

    recipe = recipe_of(name)
    if source is None and recipe is None:
        raise UsageError(f"--data is needed: {name} has no recipe that says what it was trained on.")
    options, trained_on = {}, None
    if recipe is not None and source in (None, recipe.data["source"], recipe.source):
        options = {key: value for key, value in recipe.data.items() if value is not None and key not in ("source", "levels")}
        source, trained_on = source or recipe.source, _trained_on(name)
    if model.condition_shape is None and condition is not None:
        raise UsageError("This model takes no --condition.")
    if model.condition_shape is not None:
        trained = recipe and recipe.data["condition"]
        options["condition"] = trained if condition is None else _in_order(parse_names(condition), trained)
    if model.condition_shape is not None and options["condition"] is None:
        raise UsageError("This model needs a condition: --condition=label, or the names of columns.")
    options |= {
        "levels": model.levels,
        "dtype": data_dtype(model),
        "columns": columns_of(name),
        **reading_of(name, reading or {}),
    }
    splits = data.load(source, data_dir=data_dir, **options)
    if np.prod(splits.event_shape) != np.prod(model.event_shape):
        raise data.DataError(f"Expected rows of event_shape={model.event_shape}. Received: {splits.event_shape} in {source}.")
    if trained_on is not None and trained_on.sha256 != splits.sha256:
        warnings.warn(
            f"{source} has changed since {name} was trained on it. Its splits are drawn anew: a row of the test split may have "
            "been trained on.",
            stacklevel=2,
        )
    return splits


def data_dtype(model):
    """What real values are read as for a model, or a client of one: float64 where that is its dtype, else float32."""
    return "float64" if model.compute_dtype == "float64" else "float32"


def parse_names(text):
    """A condition as on a command line: 'label' or a column's name, or several with commas."""
    return [part.strip() for part in text.split(",")] if "," in text else text


def reshaped(model, dataset):
    """A tf.data of batches with each x in the model's event shape."""
    import tensorflow as tf

    return dataset.map(lambda batch: {**batch, "x": tf.reshape(batch["x"], (-1, *model.event_shape))})


def condition_names(model, name, text=None):
    """'label', or the names of columns that hold the condition: those of `text`, or of the recipe beside the model where there
    is no text; None where the text holds numbers, and for a model without a condition."""
    if model.condition_shape is None:
        return None
    recipe = recipe_of(name)
    trained = recipe and recipe.data["condition"]
    if text is None:
        return trained
    return _in_order(parse_names(text), trained) if _numbers(text) is None else None


def _in_order(names, trained):
    """The names of a condition; those that it had in training in the order that they had there."""
    if not isinstance(names, list) or not isinstance(trained, list):
        return names
    if sorted(names) == sorted(trained):
        return trained
    for here, there in zip(names, trained, strict=False):
        if here != there and here in trained:
            raise UsageError(
                f"--condition must have {here!r} at its place in training: {','.join(trained)}. Received: {','.join(names)}"
            )
    return names


def parse_condition(model, text):
    """The condition of a command line: numbers "0.5,2", or a class "3" where conditions are one-hot [k]."""
    if text is None:
        if model.condition_shape is not None:
            raise UsageError(f"This model needs --condition: {_expected(model)}.")
        return None
    if model.condition_shape is None:
        raise UsageError("This model takes no --condition.")
    values = _numbers(text)
    if values is None:
        raise UsageError(f"--condition expects {_expected(model)}. Received: {text}")
    size = int(np.prod(model.condition_shape))
    if len(values) == 1 and size > 1 and values[0] in range(size):
        values = np.eye(size)[int(values[0])]
    if len(values) != size:
        raise UsageError(f"--condition expects {_expected(model)}. Received: {text}")
    return values.reshape(model.condition_shape)


def _numbers(text):
    try:
        return np.array([float(v) for v in text.replace(" ", "").split(",")])
    except ValueError:
        return None


def _expected(model):
    size = int(np.prod(model.condition_shape))
    return f"{size} numbers, or a class 0..{size - 1}" if size > 1 else "a number"
