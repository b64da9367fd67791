import json
import pathlib

import keras
import numpy as np

from tfdgm import data, networks
from tfdgm.training import AutoregressiveTrainer, Batches, Checkpoints, Preempted
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import runs
from tfdgm.zoo.recipe import RecipeError

#: Networks whose model of the same name is no more than the network and a family of levels.
NETWORKS = [
    name
    for name in networks.__all__
    if isinstance(getattr(networks, name), type)
    and issubclass(getattr(networks, name), networks.AutoregressiveNetwork)
    and name not in ("AutoregressiveNetwork", "ImageNetwork", "MADE")
]


def train(recipe, output_dir, *, data_dir=None, restart=False, stop_after=None, verbose="auto", report=print):
    """`tfdgm.zoo.train` under any backend of Keras, TensorFlow not needed, on one device: an autoregressive image model.

    Writes recipe.toml, weights.weights.h5 (of the best validation epoch) and record.json, of which
    `tfdgm.zoo.training_run.export_run` makes a zoo entry under TensorFlow. It resumes and stops as `tfdgm.zoo.train` does; when
    it stops before the end, the best weights so far are written too.

    Dropout and data have the seeds of the recipe, but initial weights and rounding differ between backends, and the order of
    rows between this and `tfdgm.zoo.train`.

    Args:
      recipe, output_dir, data_dir, restart, stop_after, verbose, report: as in `tfdgm.zoo.train`.

    Returns:
      The record, a dict.
    """
    recipe = runs.as_recipe(recipe)
    output_dir = pathlib.Path(output_dir).expanduser()
    runs.check_folder(recipe, output_dir, restart)
    training, options = recipe.training, runs.data_options(recipe)
    batch_size = options.pop("batch_size")
    what = data.load_arrays(recipe.data["source"], data_dir=data_dir, **options)
    rows = [len(what.parts[split].rows) for split in ("train", "valid", "test")]
    steps = runs.steps_of_epoch(recipe, *rows)

    keras.utils.set_random_seed(training["seed"])
    model = build_trainer(recipe, what)
    model.compile(runs.build_optimizer(training, steps), **runs.compile_options(training))
    runs.prepare_folder(recipe, output_dir, restart)
    run = {**runs.identity(recipe), "sha256": what.sha256, "backend": keras.backend.backend()}
    checkpoints = Checkpoints(output_dir / "checkpoints", patience=training["patience"], run=run)
    report(f"{recipe.model['class']}, {runs.count_weights(model):,} weights, on {what.name}: {rows[0]:,} train, "
           f"{rows[1]:,} validation, {rows[2]:,} test rows. Keras runs on {run['backend']}.")  # fmt: skip
    runs.report_emulation(training["precision"], report)
    if restart or not runs.restore(checkpoints, model, training["epochs"], steps, report):
        part = what.parts["train"]
        first = part.rows[:65536]
        model.adapt(part.x[first], None if part.condition is None else part.condition[first])

    try:
        with runs.stopped(checkpoints, stop_after):
            runs.fit(
                model,
                checkpoints,
                training["epochs"],
                steps,
                lambda first, last, done: Batches(
                    what.parts["train"], batch_size, seed=recipe.data["seed"], first_step=first * steps + done
                ),
                validation_data=Batches(what.parts["valid"], batch_size),
                callbacks=[_StopOnNaN(), checkpoints, *runs.averaging(training)],
                verbose=verbose,
            )
    except Preempted:
        if checkpoints.best_epoch is not None:
            _write_results(recipe, checkpoints, model, what.sha256, output_dir)
        raise
    record = _write_results(recipe, checkpoints, model, what.sha256, output_dir)
    checkpoints.remove()
    return record


def build_trainer(recipe, what):
    """The recipe's network and family as an `AutoregressiveTrainer`; shape, levels and condition are those of `what`."""
    name = recipe.model["class"]
    if name not in NETWORKS:
        raise RecipeError(f"Under Keras's {keras.backend.backend()} backend: {unknown_name('image model', name, NETWORKS)}")
    if what.levels is None:
        raise RecipeError(f"Image models take integers. Received: {what.name}, which is real-valued; see levels in [data].")
    cls = getattr(networks, name)
    parameters = {p.name: p.default for p in networks.parameters_of(cls)}
    part = what.parts["train"]
    found = {"event_shape": part.x.shape[1:], "levels": what.levels, "seed": recipe.training["seed"]}
    found["dtype"] = recipe.training["precision"]
    condition_shape = None if part.condition is None else part.condition.shape[1:]
    given = runs.arguments(recipe, {*parameters, "dtype", "name"}, found, condition_shape)
    policy = keras.dtype_policies.get(given.pop("dtype"))
    half = policy.compute_dtype != policy.variable_dtype
    try:
        network, family = networks.of_levels(cls, **{**parameters, **given}, dtype=policy.variable_dtype)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"[model]: {name} could not be built from {given}: {error}") from None
    return AutoregressiveTrainer(network, family, precision=policy.name if half else None)


def _write_results(recipe, checkpoints, model, sha256, output_dir):
    """weights.weights.h5 and record.json. Returns the record."""
    checkpoints.set_best_weights(model)
    aside = output_dir / f".new.{runs.WEIGHTS}"
    model.save_weights(aside)
    aside.replace(output_dir / runs.WEIGHTS)
    record = runs.make_record(recipe, checkpoints, sha256)
    runs.write_text(output_dir / runs.RECORD, json.dumps(record, indent=1) + "\n")
    return record


class _StopOnNaN(keras.callbacks.Callback):
    """Before the next checkpoint is written: the last one goes on from finite weights."""

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"Training stopped: the loss is {logs['loss']} at step {batch + 1} of this epoch. A lower learning rate or "
                "`clipnorm` usually help; they make another run (--restart)."
            )
