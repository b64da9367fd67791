"""Train a model from a recipe, or from --model and --data; resumes by itself.

Usage: tfdgm train RECIPE [--output DIR] [--set section.key=value ...]
       tfdgm train --model MAF --data SOURCE [...]

RECIPE is a .toml file, a folder that holds a recipe.toml, or the name of a zoo entry. Without one, --model names a class of
tfdgm.models and everything else has defaults. Shape, levels and condition of the model come from the data.
Where RECIPE is a zoo entry or a finished run and --data names other data, training starts from its weights (training.start, which
the card shows; --set training.start=None: from the beginning). The data must have its shape.

The folder DIR receives recipe.toml, card.json (all that is known of the run, with the likelihood of the test split), curves.png,
samples.png and 1/, the SavedModel: it is what a zoo entry is; and last/, from which a finished run goes on when it is given more
--epochs or more --patience (it may be deleted). DIR must be new, empty or a run; what else is put into it stays. A state is saved
after every epoch and every ten minutes: after a kill, the same command goes on from there. On SIGTERM the state is saved and the
command ends with 0.

On several devices or machines: --strategy; the batch size is that of all together. See docs/distributed.md.

Where Keras's backend is not TensorFlow (KERAS_BACKEND=jax or torch), which then need not be installed, image models are trained
on that backend's device. DIR receives recipe.toml, record.json and weights.weights.h5; where TensorFlow is, `tfdgm export DIR`
makes the rest of them.

The loss is the mean negative log-likelihood in nats. A negative loss is no error: a density may exceed 1.

Examples:
  tfdgm train --model MAF --data digits
  tfdgm train --model RealNVP --data rows.csv --epochs 50 --set model.num_layers=6 --set model.hidden_units=[128,128]
  tfdgm train maf_digits --set training.learning_rate=1e-3 --output runs/faster
  tfdgm train runs/realnvp_rows --epochs 80
  tfdgm train runs/realnvp_rows --data newer.csv --output runs/tuned
  tfdgm train my/recipe.toml --restart
  KERAS_BACKEND=jax tfdgm train my/recipe.toml --stop_after 500
"""

import os
import pathlib

from absl import flags

from tfdgm.cli import reading_flags
from tfdgm.cli.inputs import parse_names
from tfdgm.cli.usage import UsageError
from tfdgm.expanded import expanded
from tfdgm.printable import printable
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import entries
from tfdgm.zoo.recipe import PRECISIONS, SECTIONS, STATES, Recipe, RecipeError, parse_value

FLAGS = flags.FlagValues()
flags.DEFINE_string("model", None, "Class of the model: model.class.", flag_values=FLAGS)
flags.DEFINE_string("data", None, "Data set's name, file, glob or folder: data.source.", flag_values=FLAGS)
flags.DEFINE_string(
    "condition",
    None,
    "What the density depends on: 'label' (of images: the name of their folder), or columns with commas between: data.condition.",
    flag_values=FLAGS,
)
flags.DEFINE_string("weight", None, "A table's column, how much each row counts: data.weight.", flag_values=FLAGS)
flags.DEFINE_list(
    "integers",
    None,
    "A table's columns that are integers from 0 on, with commas between, which flows dequantize: data.integers.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("epochs", None, "Epochs at most: training.epochs.", flag_values=FLAGS)
flags.DEFINE_float("learning_rate", None, "Of the optimizer: training.learning_rate.", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", None, "Rows per step: data.batch_size.", flag_values=FLAGS)
flags.DEFINE_integer(
    "patience", None, "Stop after so many epochs without a better validation loss: training.patience.", flag_values=FLAGS
)
flags.DEFINE_integer("seed", None, "Of weights, noise and shuffling: training.seed.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "set",
    [],
    "Sets any other key, section.key=value with the value as in TOML or Python (3, [64,64], false or False, None); may be "
    + "repeated. Sections: model (class, and its arguments), "
    + ", ".join(f"{name} ({', '.join(keys)})" for name, keys in SECTIONS.items() if name != "model")
    + ".",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output",
    None,
    "Folder of the run. Default: runs/<model>_<data>, or RECIPE itself where it is a run that is not finished, or goes on.",
    flag_values=FLAGS,
)
flags.DEFINE_string("data_dir", None, "Folder of data sets. Default: the environment's TFDGM_DATA_DIR.", flag_values=FLAGS)
flags.DEFINE_enum(
    "strategy",
    "auto",
    ["default", "mirrored", "multi_worker", "tpu", "auto"],
    "What trains: one device, all GPUs of this machine, the workers of TF_CONFIG, a TPU, or what there is.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "precision",
    None,
    PRECISIONS,
    "Of the networks; densities stay in float32: training.precision. For all in float64, and files read so: --set "
    "model.dtype=float64.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "stop_after",
    None,
    "Seconds of training, after which the state is saved as on SIGTERM.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_bool("tensorboard", False, "Write logs for TensorBoard to DIR/tensorboard.", flag_values=FLAGS)
flags.DEFINE_bool("restart", False, "Start over where there is a run already.", flag_values=FLAGS)
reading_flags.define(FLAGS)

_SHORT = {
    "model": "model.class",
    "data": "data.source",
    "batch_size": "data.batch_size",
    "integers": "data.integers",
    "weight": "data.weight",
    "epochs": "training.epochs",
    "learning_rate": "training.learning_rate",
    "patience": "training.patience",
    "precision": "training.precision",
    "seed": "training.seed",
}


def run(arguments):
    overrides = {key: FLAGS[flag].value for flag, key in _SHORT.items() if FLAGS[flag].value is not None}
    overrides |= {f"data.{name}": value for name, value in reading_flags.given(FLAGS).items()}
    if FLAGS.condition is not None:
        overrides["data.condition"] = parse_names(FLAGS.condition)
    for setting in FLAGS["set"].value:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set expects section.key=value. Received: {setting}")
        overrides[key.strip()] = parse_value(value.strip())
    recipe = _recipe(arguments, overrides)
    output = expanded(FLAGS.output or _default_output(arguments, recipe))

    from tfdgm.cli.quiet import import_tensorflow, keras_backend

    backend = keras_backend()
    if backend == "tensorflow":
        import_tensorflow()
    from tfdgm.training import Preempted
    from tfdgm.zoo.cards import Card
    from tfdgm.zoo.training_run import train

    options = {name: FLAGS[name].value for name in ("data_dir", "restart", "stop_after", "strategy", "tensorboard")}
    try:
        card = train(recipe, output, report=_say, **options)
    except Preempted as when:
        _say(f"Asked to stop: the state {when} is saved in {output}. The same command goes on from there.")
        return
    if backend != "tensorflow":
        _say(f"Best epoch: {card['best_epoch']} of {card['epochs']}, validation loss {card['best_loss']:.4f} nats.")
        _say(f"Under TensorFlow, `tfdgm export {output}` tests it and makes the zoo entry.")
        return
    if card is None:  # A worker that does not write.
        return
    _say(f"\n{Card.from_dict(card).text()}\n")
    for name, what in (
        ("card.json", "the figures above"),
        ("curves.png", "train and validation loss"),
        ("samples.png", "samples"),
        ("1", "the SavedModel, for TF Serving or tfdgm.load"),
    ):
        _say(f"{str(output / name).ljust(len(str(output)) + 14)}{what}")


def _recipe(arguments, overrides):
    if len(arguments) > 1:
        raise UsageError(f"Expected one RECIPE. Received: {' '.join(arguments)}")
    if arguments:
        recipe = Recipe.read(arguments[0])
        if "training.start" in overrides or not _is_trained(arguments[0]) or _has_data(recipe, overrides.get("data.source")):
            return recipe.with_overrides(overrides) if overrides else recipe
        start = arguments[0] if arguments[0] in entries.names() else os.path.abspath(expanded(arguments[0]))
        return recipe.started_from(start, overrides)
    if not {"model.class", "data.source"} <= set(overrides):
        raise UsageError("Expected a RECIPE, or --model and --data. See `tfdgm train --help`.")
    sections = {}
    for key, value in overrides.items():
        section, dot, name = key.partition(".")
        if not dot:
            raise RecipeError(f"--set expects section.key=value. {unknown_name('section', section, SECTIONS)}")
        sections.setdefault(section, {})[name] = value
    return Recipe(sections)


def _is_trained(recipe):
    return recipe in entries.names() or (expanded(recipe) / "card.json").is_file()


def _has_data(recipe, source):
    known = (None, recipe.data["source"], recipe.source)
    return source in known or os.path.abspath(os.path.expanduser(source)) in known


def _default_output(arguments, recipe):
    """RECIPE itself where it is a run that is not finished or goes on; else runs/ and the name of the recipe's folder or of
    its contents."""
    unfinished, last = ((expanded(arguments[0]) / name).is_dir() for name in STATES) if arguments else (False, False)
    if (unfinished and not last) or (last and Recipe.read(arguments[0]).but_for_its_end == recipe.but_for_its_end):
        return arguments[0]
    own_folder = recipe.path is not None and pathlib.Path(recipe.path).name == "recipe.toml"
    return pathlib.Path("runs") / (pathlib.Path(recipe.path).resolve().parent.name if own_folder else recipe.name)


def _say(text):
    print(printable(text), flush=True)
