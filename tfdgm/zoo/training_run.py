import importlib.metadata
import importlib.util
import inspect
import json
import pathlib
import shlex

import keras
import numpy as np
import tensorflow as tf

from tfdgm import data, models
from tfdgm.training import AutoregressiveTrainer, Checkpoints, DataWait, is_chief, make_strategy, pictures
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import entries, runs
from tfdgm.zoo.evaluation import evaluate
from tfdgm.zoo.recipe import Recipe, RecipeError
from tfdgm.zoo.runs import build_optimizer, count_weights

_SAMPLES = 100


def train(
    recipe,
    output_dir,
    *,
    data_dir=None,
    restart=False,
    stop_after=None,
    strategy="default",
    tensorboard=False,
    verbose="auto",
    report=print,
):
    """Trains what a recipe says and writes a zoo entry: recipe.toml, card.json, curves.png, samples.png and the SavedModel 1/.

    A state is saved after every epoch and every ten minutes under output_dir/checkpoints; called again after a kill, the run
    goes on from there and ends with the same weights. On SIGTERM it saves its state and raises `tfdgm.training.Preempted`. The
    test split is evaluated once, at the end, with the weights of the best validation epoch.

    Of several workers (strategy "multi_worker") each calls this with the same arguments. The first one writes, and returns the
    card; all read output_dir/checkpoints, so it must lie where all see it.

    Args:
      recipe: a `Recipe`, a dict of its sections, or what `Recipe.read` takes.
      output_dir: folder of the run.
      data_dir: as in `tfdgm.data.load`.
      restart: starts over where there is a run already. A finished one stays until the new one is finished.
      stop_after: seconds of training after which it saves its state and raises `Preempted`, as on SIGTERM; or None.
      strategy: a name for `tfdgm.training.make_strategy`. The batch size is that of all replicas together.
      tensorboard: whether to write logs for TensorBoard under output_dir/tensorboard.
      verbose: Keras's; "auto" is a progress bar on a terminal and a line an epoch elsewhere.
      report: receives lines on what happens.

    Returns:
      The card, a dict; None on a worker that does not write.
    """
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise RecipeError("Logs for TensorBoard need the package tensorboard: pip install 'tfdgm[tensorboard]'.")
    strategy = make_strategy(strategy)
    writes = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or is_chief()
    report = report if writes else lambda line: None
    recipe = runs.as_recipe(recipe)
    output_dir = pathlib.Path(output_dir).expanduser()
    if writes:
        runs.check_folder(recipe, output_dir, restart)
    training = recipe.training
    splits = data.load(recipe.data["source"], data_dir=data_dir, **runs.data_options(recipe))
    steps = runs.steps_of_epoch(recipe, splits.num_train, splits.num_valid, splits.num_test)

    keras.utils.set_random_seed(training["seed"])
    with strategy.scope():
        model = build_model(recipe, splits)
        model.compile(optimizer=build_optimizer(training, steps), **runs.compile_options(training))
    if writes:
        runs.prepare_folder(recipe, output_dir, restart)
    run = {**runs.identity(recipe), "sha256": splits.sha256}
    checkpoints = Checkpoints(output_dir / "checkpoints", patience=training["patience"], run=run, writes=writes)
    report(f"{type(model).__name__}, {count_weights(model):,} weights, on {splits.name}: {splits.num_train:,} train, "
           f"{splits.num_valid:,} validation, {splits.num_test:,} test rows.")  # fmt: skip
    if strategy.num_replicas_in_sync > 1:
        report(f"{strategy.num_replicas_in_sync} replicas share each batch of {recipe.data['batch_size']}.")
    runs.report_emulation(training["precision"], report)
    if not restart:
        runs.restore(checkpoints, model, training["epochs"], steps, report)
    if not int(model.adapted.numpy()):
        model.adapt(splits.train)

    waiting = DataWait()
    callbacks = [checkpoints, *runs.averaging(training), waiting]
    if tensorboard and writes:
        callbacks.append(keras.callbacks.TensorBoard(output_dir / "tensorboard"))
    with runs.stopped(checkpoints, stop_after):
        runs.fit(
            model,
            checkpoints,
            training["epochs"],
            steps,
            lambda first, last, done: _sharded(splits.train_epochs(first, last).skip(done)),
            validation_data=_sharded(splits.valid),
            callbacks=callbacks,
            verbose=verbose if writes else 0,
        )
    if not writes:
        return None
    if strategy.num_replicas_in_sync > 1:
        model = build_model(recipe, splits)  # Outside the strategy, where scoring, sampling and export need no other replica.
    checkpoints.set_best_weights(model)

    if waiting.share is not None:
        report(f"Waiting for data: {waiting.share:.1%} of the steps' time.")
    report("Evaluating the best epoch's weights.")
    valid = evaluate(model, splits.valid)
    record = runs.make_record(recipe, checkpoints, splits.sha256)
    more = {
        "skipped_steps": int(model.skipped_steps.numpy()),
        "replicas": strategy.num_replicas_in_sync,
        "waiting_for_data": waiting.share,
    }
    card = _write_entry(recipe, splits, model, record, valid, output_dir, more)
    checkpoints.remove()
    return card


def export_run(folder, *, data_dir=None, report=print):
    """Makes a zoo entry of a run that was trained under another backend than TensorFlow: card.json, curves.png, samples.png and
    the SavedModel 1/, as `train` would have left them. The test split is evaluated here.

    Args:
      folder: of the run; where the run is not finished, the best weights so far are taken, and it may go on.
      data_dir: as in `tfdgm.data.load`.
      report: receives lines on what happens.

    Returns:
      The card, a dict.
    """
    folder = pathlib.Path(folder).expanduser()
    recipe = Recipe.read(folder / "recipe.toml")
    record = json.loads((folder / runs.RECORD).read_text())
    if record["recipe"] != json.loads(json.dumps(runs.identity(recipe))):
        raise RecipeError(f"{folder / 'recipe.toml'} is another recipe than the one that {runs.RECORD} there tells of.")
    splits = data.load(recipe.data["source"], data_dir=data_dir, **runs.data_options(recipe))
    if splits.sha256 != record["sha256"]:
        raise RecipeError(
            f"{splits.name} is not the data of the run: expected sha256 {record['sha256']}. Received: {splits.sha256}"
        )
    model = build_model(recipe, splits)
    inner = model.distribution
    trainer = AutoregressiveTrainer(inner.network, inner.family, condition_scaling=inner.condition_scaling)
    trainer.load_weights(folder / runs.WEIGHTS)
    model.adapted.assign(1)
    report(
        f"{type(model).__name__}, {count_weights(model):,} weights, trained for {record['epochs']} epochs under Keras's "
        f"{record['backend']} backend. Evaluating the best epoch's weights."
    )
    valid, there = evaluate(model, splits.valid), record["best_loss"]
    if abs(valid.log_likelihood + there) > 0.01 * abs(there):
        raise ArithmeticError(
            f"The best epoch's validation loss was {there:.4f} nats in training, and is {-valid.log_likelihood:.4f} nats under "
            "TensorFlow: the network does not compute here what it computed there."
        )
    more = {"skipped_steps": 0, "replicas": 1, "waiting_for_data": None}
    card = _write_entry(recipe, splits, model, record, valid, folder, more)
    if not (folder / "checkpoints").exists():
        (folder / runs.RECORD).unlink()
        (folder / runs.WEIGHTS).unlink()
    return card


def _write_entry(recipe, splits, model, record, valid, output_dir, more):
    """Tests a model that has its best weights, and writes all of an entry but recipe.toml. Returns the card.

    `valid` is its `Evaluation` on the validation split, `more` what else the card says of training.
    """
    results = {"validation": valid, "test": evaluate(model, splits.test)}
    card = make_card(recipe, splits, model, record, results, output_dir)
    card["training"].update(more)
    title = f"{type(model).__name__} on {_data_name(splits)}"
    pictures.curves(output_dir / "curves.png", record["history"], best_epoch=record["best_epoch"], title=title)
    _draw_samples(output_dir / "samples.png", model, splits, recipe.training["seed"])
    model.export(output_dir / "1")
    runs.write_text(output_dir / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def _sharded(dataset):
    """With a worker taking its part of every batch: the files of our data sets cannot be dealt out."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def build_model(recipe, splits):
    """The recipe's model, with event_shape, levels, condition_shape and seed from the data and training where not given."""
    name = recipe.model["class"]
    classes = [n for n in models.__all__ if n != "DensityModel"]
    if name not in classes:
        raise RecipeError(unknown_name("model", name, classes))
    cls = getattr(models, name)
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    found = {"event_shape": splits.event_shape, "levels": splits.levels, "seed": recipe.training["seed"]}
    if recipe.training["precision"] != "float32":
        found["dtype"] = recipe.training["precision"]
    given = runs.arguments(recipe, known, found, splits.condition_shape)
    try:
        model = cls(**given)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"[model]: {name} could not be built from {given}: {error}") from None
    if splits.columns and model.event_shape == (len(splits.columns),):
        model.column_names = tuple(splits.columns)  # A DataFrame given to the model later is put in their order.
    return model


def make_card(recipe, splits, model, record, results, output_dir):
    """The card of a finished run."""
    test = results["test"]
    published = None
    if recipe.published:
        ours = -test.log_likelihood if recipe.published["unit"] == "nats" else test.bits_per_dim
        published = {**recipe.published, "reached": ours is not None and ours <= recipe.published["value"]}
    return {
        "name": output_dir.resolve().name,
        "model": {
            "class": type(model).__name__,
            "config": model.get_config(),
            "parameters": count_weights(model),
        },
        "data": {
            "name": _data_name(splits),
            "description": splits.description,
            "sha256": splits.sha256,
            "train": splits.num_train,
            "validation": splits.num_valid,
            "test": splits.num_test,
            "event_shape": splits.event_shape,
            "levels": splits.levels,
            "condition_shape": splits.condition_shape,
            "condition": recipe.data["condition"],
            "columns": splits.columns,
        },
        "training": {
            **recipe.training,
            "batch_size": recipe.data["batch_size"],
            "epochs": record["epochs"],
            "best_epoch": record["best_epoch"],
            "hours": round(record["seconds"] / 3600, 4),
            "backend": record["backend"],
        },
        "is_bound": bool(model.is_bound),
        "kind": model.kind,
        **{
            split: {
                "nll": -result.log_likelihood,
                "standard_error": result.standard_error,
                "bits_per_dim": result.bits_per_dim,
                "rows": result.rows,
            }
            for split, result in results.items()
        },
        "published": published,
        "machine": record["machine"],
        "versions": {
            **record["versions"],
            **{name: importlib.metadata.version(name) for name in ("tensorflow", "tensorflow-probability")},
        },
        "date": record["date"],
        "command": _command(output_dir, record["backend"]),
    }


def _command(output_dir, backend):
    parent, name = output_dir.resolve().parent, output_dir.resolve().name
    if parent.name == "zoo" or parent in [folder.resolve() for folder in entries.folders()]:
        train, folder = f"tfdgm train {shlex.quote(name)}", f"runs/{name}"
    else:
        folder = f"{output_dir}_again"
        train = f"tfdgm train {shlex.quote(str(output_dir / 'recipe.toml'))} --output {shlex.quote(folder)}"
    return train if backend == "tensorflow" else f"KERAS_BACKEND={backend} {train} && tfdgm export {shlex.quote(folder)}"


def _draw_samples(path, model, splits, seed):
    condition = _conditions(splits)
    if pictures.is_image(model.event_shape):
        samples = model.sample(_SAMPLES, seed=seed, condition=condition)
        pictures.save_image(path, pictures.image_grid(samples, levels=model.levels, columns=10))
        return
    rows = _first_test_rows(splits, 2000)
    count = len(rows[0])
    samples = model.sample(count, seed=seed, condition=rows[1])
    pictures.vectors(path, samples, rows[0], names=splits.columns, title=f"{type(model).__name__} on {_data_name(splits)}")


def _conditions(splits):
    """One condition a sample: each column of the grid has one class where conditions are one-hot, else those of test rows."""
    if splits.condition_shape is None:
        return None
    condition = _first_test_rows(splits, _SAMPLES)[1]
    if condition.ndim == 2 and np.isin(condition, (0, 1)).all() and (condition.sum(axis=1) == 1).all():
        classes = condition.shape[1]
        return np.eye(classes, dtype=np.float32)[np.arange(_SAMPLES) % classes]
    return np.resize(condition, (_SAMPLES, *splits.condition_shape))


def _first_test_rows(splits, count):
    """(x, condition or None) of up to `count` test rows."""
    batch = next(iter(splits.test.unbatch().batch(count)))
    return batch["x"].numpy(), batch["condition"].numpy() if "condition" in batch else None


def _data_name(splits):
    """Of a file its name without the folders, which mean nothing on another machine."""
    path = pathlib.Path(splits.name)
    return path.name if path.suffix else splits.name
