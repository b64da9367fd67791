"""Recipes: what a training run is made from, as TOML. Imports no TensorFlow."""

import ast
import contextlib
import copy
import glob
import json
import os
import pathlib
import tomllib
import typing

from tfdgm.data import named, reading
from tfdgm.expanded import expanded
from tfdgm.from_outside import OutsideError, check, is_plain, read_text
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import entries

#: The keys of each section with their defaults; a type stands for a key without one. [model] takes its class's arguments.
SECTIONS = {
    "model": {"class": str},
    "data": {
        "source": str,
        "condition": None,
        "weight": None,
        "batch_size": 256,
        "valid_fraction": 0.1,
        "test_fraction": 0.1,
        "levels": None,
        "integers": None,
        "seed": 0,
        **dict.fromkeys(reading.NAMES),
    },
    "training": {
        "epochs": 100,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "weight_decay": 0.0,
        "epsilon": None,
        "clipnorm": None,
        "ema_momentum": None,
        "patience": None,
        "precision": "float32",
        "accumulate_steps": None,
        "steps_per_execution": 1,
        "xla": None,
        "start": None,
        "seed": 0,
    },
    "published": {"name": str, "value": float, "unit": str, "source": str},
}
OPTIMIZERS = ("adam", "adamax", "adamw", "lion", "nadam", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
UNITS = ("nats", "bits/dim")
_INTEGERS = {"batch_size": 1, "levels": 2, "epochs": 1, "patience": 1, "accumulate_steps": 2, "steps_per_execution": 1, "seed": 0}
_NUMBERS = ("valid_fraction", "test_fraction", "value", "learning_rate", "warmup_epochs", "weight_decay", "epsilon", "clipnorm",
            "ema_momentum")  # fmt: skip
_ABOVE_0 = ("learning_rate", "clipnorm", "epsilon")
_LARGEST = 3.4e38  # In float32.
#: Numbers from 0 on, with the largest that is taken.
_FROM_0 = {"warmup_epochs": 1e6, "weight_decay": _LARGEST, "valid_fraction": 1, "test_fraction": 1}
_KINDS = {"condition": str | list[str] | None, **typing.get_type_hints(reading.Reading)}
_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS, "unit": UNITS}


#: The keys that name a file or folder.
_PATHS = (("data", "source"), ("training", "start"))
#: Beside the recipe of a run: the folders that hold its state, while it trains and when it has; and in them, where on this
#: machine its files lay.
STATES, PLACES = ("checkpoints", "last"), "places.json"


class RecipeError(ValueError):
    """A recipe that cannot be read, or holds what is not known."""


class Recipe:
    """A training run as plain values, checked: `Recipe.read("recipe.toml")`, or `Recipe({"model": {...}, "data": {...}})`.

    | section | keys |
    |---|---|
    | [model] | `class`, and the arguments of that class in `tfdgm.models`; event_shape, levels and condition_shape come |
    |  | from the data |
    | [data] | `source` (a name or a file), `condition`, `weight` (a table's column), `batch_size`, `valid_fraction`, |
    |  | `test_fraction`, `levels`, `integers` (a table's columns that are, beside real ones), `seed`, and how files are |
    |  | read, as in `tfdgm.data.load`: `header`, `keep`, `ignore`, `delimiter`, `decimal`, `encoding`, `size`, |
    |  | `fit`, `color` |
    | [training] | `epochs`, `optimizer`, `learning_rate`, `schedule` (constant or cosine), `warmup_epochs` (of a |
    |  | rate that rises from 0; may be a fraction), `weight_decay`, `epsilon` (of Adam and its kin), `clipnorm`, |
    |  | `ema_momentum` (weights averaged over steps), `patience` (epochs without a better validation loss), |
    |  | `precision` (of the networks: float32, mixed_bfloat16 or mixed_float16; densities stay in float32), |
    |  | `accumulate_steps` (gradients averaged over so many steps make one update), `steps_per_execution` (steps in |
    |  | one call of TensorFlow), `xla` (true or false; by default on where one device trains), `start` (a zoo entry, run |
    |  | or SavedModel of the same shape whose weights it starts from), `seed` |
    | [published] | `name`, `value`, `unit` ("nats" or "bits/dim", of the negative log-likelihood), `source`; optional |

    Of an absolute path to a file or folder the last name alone becomes part of the recipe, which others may read; the run's
    folder keeps beside its state where it lies. `source` and `start` are what to read.

    TOML has no None: the text "None" stands for it. Under `dtype = "float64"` in [model], files are read in float64 too.
    """

    def __init__(self, sections, *, path=None, places=()):
        self.path = path
        self.sections = _checked(sections, path or "The recipe")
        self._places, self._shortened = dict(places), {}
        for section, key in _PATHS:
            value = self.sections.get(section, {}).get(key)
            if value and value.startswith(("/", "~")):
                short = _without_folders(value)
                self.sections[section][key] = short
                self._places[short], self._shortened[short] = str(expanded(value)), value
        self.model = self.sections["model"]
        self.data = {**SECTIONS["data"], **self.sections["data"]}
        self.training = {**SECTIONS["training"], **self.sections.get("training", {})}
        self.published = self.sections.get("published")

    @classmethod
    def read(cls, path):
        """From a .toml file, a folder that holds a recipe.toml, or the name of a zoo entry."""
        if path in entries.recipe_names():
            file = entries.find_recipe(path)
        else:
            file = expanded(path)
            file = file / "recipe.toml" if file.is_dir() else file
        try:
            sections = tomllib.loads(read_text(file))
        except FileNotFoundError:
            if entries.is_name(str(path)) and not str(path).endswith(".toml"):
                raise RecipeError(unknown_name("recipe", path, entries.recipe_names())) from None
            raise RecipeError(f"There is no recipe {str(file)!r}.") from None
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"{file} is not TOML: {error}") from None
        return cls(sections, path=file, places=_places_beside(file))

    @classmethod
    def of(cls, recipe):
        """From a `Recipe`, a dict of its sections, or what `read` takes."""
        return recipe if isinstance(recipe, Recipe) else cls(recipe) if isinstance(recipe, dict) else cls.read(recipe)

    def with_overrides(self, overrides):
        """A new recipe with {"section.key": value} set; as in a file, unknown keys are errors."""
        sections = copy.deepcopy(self.sections)
        for name, value in overrides.items():
            section, dot, key = name.partition(".")
            if not dot or section not in SECTIONS:
                raise RecipeError(f"Expected section.key, e.g. training.epochs. {unknown_name('section', section, SECTIONS)}")
            sections.setdefault(section, {})[key] = value
        given = list(overrides.values())
        return Recipe(sections, places={value: place for value, place in self._places.items() if value not in given})

    def started_from(self, model, overrides):
        """`with_overrides` of a run on other data that starts from the weights of `model`. What was published is left out."""
        sections = {section: values for section, values in self.sections.items() if section != "published"}
        return Recipe(sections, places=self._places).with_overrides({"training.start": model, **overrides})

    @property
    def source(self):
        """[data] source, with its folders on this machine."""
        return self._place_of(self.data["source"])

    @property
    def start(self):
        """[training] start, with its folders on this machine."""
        return self._place_of(self.training["start"])

    def _place_of(self, value):
        place = self._places.get(value, value)
        return value if value and not os.path.exists(place) and os.path.exists(value) else place

    def places(self):
        """What is to be kept beside a run's state: {source or start as it stands here: its absolute path}, of paths alone."""
        source, start = self.data["source"], self.training["start"]
        is_path = glob.has_magic(source) or (os.path.exists(source) and not named.is_name(os.path.basename(source)))
        here = {source} if is_path else set()
        here |= {start} if start and start not in entries.names() else set()
        return {**{value: os.path.abspath(value) for value in here}, **self._places}

    @property
    def name(self):
        """<model>_<data>, as zoo entries are named; of a glob, the folder that it is in."""
        source = pathlib.Path(self.data["source"])
        while glob.has_magic(source.name):
            source = source.parent
        return f"{self.model['class']}_{source.stem or 'files'}".lower()

    @property
    def identity(self):
        """The sections that make a run what it is."""
        return {section: values for section, values in self.sections.items() if section != "published"}

    @property
    def but_for_its_end(self):
        """The sections without what ends the training, in which a run that goes on may differ."""
        training = {key: value for key, value in self.training.items() if key not in ("epochs", "patience")}
        return {**self.sections, "training": training}

    def data_options(self):
        """The arguments of `tfdgm.data.load`, beside the source. Real values are float64 for a model in float64."""
        import keras

        try:
            policy = keras.dtype_policies.get(self.model.get("dtype"))
        except (TypeError, ValueError):
            received = self.model["dtype"]
            raise RecipeError(f"[model]: dtype must be 'float32', 'float64' or a mixed one. Received: {received!r}") from None
        options = {key: value for key, value in self.data.items() if value is not None and key != "source"}
        return {**options, "dtype": "float64" if policy.variable_dtype == "float64" else "float32"}

    def steps_of_epoch(self, num_train, num_valid, num_test):
        """Batches in an epoch. A RecipeError where rows are missing, or steps_per_execution does not divide the batches."""
        if not (num_train and num_valid and num_test):
            raise RecipeError(
                f"A run needs rows to train on, to choose the best epoch and to test. Received: {num_train} train, "
                f"{num_valid} validation and {num_test} test rows; see valid_fraction and test_fraction in [data]."
            )
        steps, at_once = -(-num_train // self.data["batch_size"]), self.training["steps_per_execution"]
        if steps % at_once:
            raise RecipeError(  # Keras would take the missing steps from the next epoch.
                f"[training]: steps_per_execution must divide the {steps} steps of an epoch. Received: "
                f"steps_per_execution={at_once}"
            )
        return steps

    def build_model(self, make, known, event_shape, levels, condition_shape):
        """`make` of the arguments in [model], all of them `known`, and of the data's and training's where not given."""
        name, precision = self.model["class"], self.training["precision"]
        given = {key: value for key, value in self.model.items() if key != "class"}
        for key in given:
            if key not in known:
                raise RecipeError(f"[model]: {unknown_name(f'argument of {name}', key, known)}")
        if "dtype" in given and precision != "float32":
            raise RecipeError(
                "Give dtype in [model] or precision in [training], not both. "
                f"Received: dtype={given['dtype']!r}, precision={precision!r}"
            )
        if condition_shape is not None and "condition_shape" not in known:
            raise RecipeError(f"{name} takes no condition. Leave `condition` out of [data].")
        found = {"event_shape": event_shape, "levels": levels, "seed": self.training["seed"]}
        if precision != "float32":
            found["dtype"] = precision
        if condition_shape is not None:
            found["condition_shape"] = condition_shape
        arguments = {**{key: value for key, value in found.items() if key in known}, **given}
        try:
            return make(**arguments)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"[model]: {name} could not be built from {arguments}: {error}") from None

    def to_toml(self):
        """The recipe as a file's text; verbatim where it was read from one."""
        if self.path is not None:
            text = pathlib.Path(self.path).read_text()
            for short, value in self._shortened.items():
                text = text.replace(f'"{value}"', json.dumps(short, ensure_ascii=False)).replace(f"'{value}'", f"'{short}'")
            with contextlib.suppress(tomllib.TOMLDecodeError, RecipeError):
                if _checked(tomllib.loads(text), "") == self.sections:
                    return text
        parts = []
        for section, values in self.sections.items():
            lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
            parts.append("\n".join([f"[{section}]", *lines, ""]))
        return "\n".join(parts)


def parse_value(text):
    """A value as on a command line: of TOML (3, 0.1, true, [64, 64]) or of Python (True, None, (64, 64)), or else a string."""
    for read in (lambda text: tomllib.loads(f"value = {text}")["value"], ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = read(text)
            if value is None or isinstance(value, (bool, int, float, str, list, tuple)):
                return list(value) if isinstance(value, tuple) else value
    if text.startswith(tuple("[({\"'")):
        raise RecipeError(
            f'Expected a value of TOML or Python: 3, 0.1, true, [64, 64], "text". Received: {text}. Text that begins with a '
            "bracket or a quote must itself stand in quotes."
        )
    return text


def _without_folders(path):
    """The last name of a path, of a glob with the folder that it is in."""
    parts = pathlib.PurePath(path).parts
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return os.path.join(*parts[max(1, first - 1) :]) if len(parts) > 1 else path


def _places_beside(file):
    for folder in STATES:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return dict(json.loads((file.parent / folder / PLACES).read_text()))
    return {}


def _checked(sections, where):
    if not isinstance(sections, dict):
        raise RecipeError(f"Expected a dict of sections {list(SECTIONS)}. Received: {type(sections).__name__}")
    for section, values in sections.items():
        if section not in SECTIONS:
            raise RecipeError(f"{where}: {unknown_name('section', section, SECTIONS)}")
        if not isinstance(values, dict):
            raise RecipeError(f"{where}: expected [{section}] with keys. Received: {section} = {values!r}")
        for key, value in _with_none(values).items():
            if not is_plain(value):
                raise RecipeError(f"{where}, [{section}]: {key} must be a plain value, or a list of such. Received: {value!r}")
            if value is None and section in ("data", "training") and SECTIONS[section].get(key, 0) is None:
                continue
            if section != "model":
                if key not in SECTIONS[section]:
                    raise RecipeError(f"{where}, [{section}]: {unknown_name('key', key, SECTIONS[section])}")
                _check_value(f"{where}, [{section}]: {key}", key, value)
    for section in ("model", "data", *(["published"] if "published" in sections else [])):
        missing = [k for k, v in SECTIONS[section].items() if isinstance(v, type) and k not in sections.get(section, {})]
        if missing:
            raise RecipeError(f"{where}: [{section}] must have {', '.join(missing)}.")
    for section, key in (("model", "class"), ("published", "name"), ("published", "source"), *_PATHS):
        value = sections.get(section, {}).get(key)
        if section in sections and not (value and isinstance(value, str)) and (key, value) != ("start", None):
            raise RecipeError(f"{where}, [{section}]: {key} must be a string. Received: {value!r}")
    return {section: _with_none(sections[section]) for section in SECTIONS if section in sections}


def _with_none(value):
    """None wherever a text says so."""
    if isinstance(value, dict):
        return {key: _with_none(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_none(part) for part in value]
    return None if value == "None" else value


def _check_value(what, key, value):
    if key in _INTEGERS and not (isinstance(value, int) and not isinstance(value, bool) and value >= _INTEGERS[key]):
        raise RecipeError(f"{what} must be an integer of at least {_INTEGERS[key]}. Received: {value!r}")
    if key in _INTEGERS and value >= 2**31:
        raise RecipeError(f"{what} must be below 2**31. Received: {value!r}")
    if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise RecipeError(f"{what} must be a number. Received: {value!r}")
    if key in _ABOVE_0 and not 0 < value <= _LARGEST:
        raise RecipeError(f"{what} must be a number above 0, and finite in float32. Received: {value!r}")
    if key in _FROM_0 and not 0 <= value <= _FROM_0[key]:
        raise RecipeError(f"{what} must be at least 0, and {_FROM_0[key]:g} at most. Received: {value!r}")
    if key == "ema_momentum" and not 0 < value < 1:
        raise RecipeError(f"{what} must lie between 0 and 1. Received: {value!r}")
    if key == "value" and not abs(value) <= _LARGEST:
        raise RecipeError(f"{what} must be finite. Received: {value!r}")
    if key == "xla" and not isinstance(value, bool):
        raise RecipeError(f"{what} must be true or false. Received: {value!r}")
    if key in _CHOICES and value not in _CHOICES[key]:
        raise RecipeError(f"{what}: {unknown_name('choice', value, _CHOICES[key])}")
    if key in _KINDS:
        try:
            check(value, _KINDS[key], what)
        except OutsideError as error:
            raise RecipeError(str(error)) from None


def _toml(value):
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (int, float)) else json.dumps("None" if value is None else value, ensure_ascii=False)
