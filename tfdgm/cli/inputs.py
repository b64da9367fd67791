"""What users name on a command line -> models, data and conditions. TensorFlow is imported when these are called."""

import warnings

import numpy as np

from tfdgm.cli.usage import UsageError
from tfdgm.data.data_error import DataError
from tfdgm.data.numpy_files import event_shapes
from tfdgm.data.reading import NAMES as READING
from tfdgm.event import can_be_reshaped
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


def columns_of(name, model=None):
    """The names of the columns that a model was trained on: its own, else those of the card beside it (`name` None: of no card);
    None where there are none."""
    names = None if model is None else model.column_names
    if names and all(isinstance(each, str) for each in names):
        return names
    data = name and _trained_on(name)
    return data and data.columns


def reading_of(name, given, weight=None):
    """How files are read for a model: as `given`, else as those that it was trained on (`name` None: none are known). The column
    that was its weight there is left out, where it is not the `weight`."""
    recipe = None if name is None else recipe_of(name)
    trained = {} if recipe is None else {key: recipe.data[key] for key in READING if recipe.data[key] is not None}
    options = {**trained, **given}
    if recipe is not None and recipe.data["weight"] not in (None, weight):
        options["ignore"] = [*options.get("ignore", ()), recipe.data["weight"]]
    return options


def _trained_on(name):
    """The data of the card beside a model, None where there is none."""
    folders = [expanded(name), expanded(name).absolute().parent]  # A run's folder, or the version in it.
    if name in entries.names():
        folders = [entries.find(name)]
    return next((Card.of(folder).data for folder in folders if (folder / "card.json").is_file()), None)


def load_splits(model, name, source, *, condition=None, weight=None, data_dir=None, reading=None):
    """The splits of `source`, or of what the model was trained on; of that, the same splits as in its training."""
    from tfdgm import data

    recipe = recipe_of(name)
    if source is None and recipe is None:
        raise UsageError(f"--data is needed: {name} has no recipe that says what it was trained on.")
    options, trained_on = {}, None
    if recipe is not None and source in (None, recipe.data["source"], recipe.source):
        options = {key: value for key, value in recipe.data.items() if value is not None and key not in ("source", "levels")}
        source, trained_on = source or recipe.source, _trained_on(name)
    options |= {} if weight is None else {"weight": weight}
    if model.condition_shape is None and condition is not None:
        raise UsageError("This model takes no --condition.")
    if model.condition_shape is not None:
        trained = recipe and recipe.data["condition"]
        options["condition"] = trained if condition is None else _in_order(parse_names(condition), trained)
    if model.condition_shape is not None and options["condition"] is None:
        raise UsageError("This model needs a condition: --condition=label, or the names of columns.")
    files = data.files_of(source)
    options |= {
        "levels": file_levels(model),
        "dtype": data_dtype(model),
        "columns": columns_of(name, model),
        "classes": model.class_names,
        **reading_of(name if files else None, reading or {}, options.get("weight")),  # A named set is read in one way.
    }
    for path in files:  # Before an archive is unpacked, which may take far more memory than it takes on disk.
        for shape in event_shapes(path, options.get("condition")) if path.suffix.lower() == ".npz" else ():
            _check_shape(model, shape, source)
    splits = data.load(source, data_dir=data_dir, excerpt=True, **options)
    _check_shape(model, splits.event_shape, source)
    if trained_on is not None and trained_on.sha256 != splits.sha256:
        warnings.warn(
            f"{source} has changed since {name} was trained on it. Its splits are drawn anew: a row of the test split may have "
            "been trained on.",
            stacklevel=2,
        )
    return splits


def _check_shape(model, shape, source):
    if not can_be_reshaped(shape, model.event_shape):
        raise DataError(f"Expected rows of event_shape={model.event_shape}. Received: {shape} in {source}.")


def file_levels(model):
    """The `levels` that files are read with for a model: those of all entries, or None where columns differ, of which the model
    sees to itself."""
    return None if isinstance(model.levels, tuple) else model.levels


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
    is no text; None where the text holds numbers or the name of a class, and for a model without a condition."""
    if model.condition_shape is None:
        return None
    recipe = recipe_of(name)
    trained = recipe and recipe.data["condition"]
    if text is None:
        return trained
    is_one = text in (model.class_names or ()) or _numbers(text) is not None
    return None if is_one else _in_order(parse_names(text), trained)


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


def parse_condition(model, text, classes=None):
    """The condition of a command line: numbers "0.5,2", or where conditions are one-hot [k] a class, "3" or one of the names
    `classes`."""
    if text is None:
        if model.condition_shape is not None:
            raise UsageError(f"This model needs --condition: {_expected(model, classes)}.")
        return None
    if model.condition_shape is None:
        raise UsageError("This model takes no --condition.")
    size = int(np.prod(model.condition_shape))
    values = np.array([classes.index(text)]) if text in (classes or ()) else _numbers(text)
    if values is None:
        raise UsageError(f"--condition expects {_expected(model, classes)}. Received: {text}")
    if len(values) == 1 and size > 1 and values[0] in range(size):
        values = np.eye(size)[int(values[0])]
    if len(values) != size:
        raise UsageError(f"--condition expects {_expected(model, classes)}. Received: {text}")
    return values.reshape(model.condition_shape)


def _numbers(text):
    try:
        return np.array([float(v) for v in text.replace(" ", "").split(",")])
    except ValueError:
        return None


def _expected(model, classes):
    size = int(np.prod(model.condition_shape))
    named = f": {', '.join(classes)}" if classes else ""
    return f"{size} numbers, or a class 0..{size - 1}{named}" if size > 1 else "a number"
