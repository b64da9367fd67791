import contextlib
import datetime
import importlib.metadata
import importlib.util
import inspect
import json
import os
import pathlib
import platform
import shlex
import signal
import sys
import threading

import keras
import numpy as np
import tensorflow as tf

import tfdgm
from tfdgm import data, models
from tfdgm.training import CheckpointError, Checkpoints, DataWait, is_chief, make_strategy, pictures
from tfdgm.zoo import entries
from tfdgm.zoo.evaluation import evaluate
from tfdgm.zoo.recipe import Recipe, RecipeError
from tfdgm.zoo.unknown_name import unknown_name

_SAMPLES = 100


def train(
    recipe, output_dir, *, data_dir=None, restart=False, strategy="default", tensorboard=False, verbose="auto", report=print
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
    recipe = recipe if isinstance(recipe, Recipe) else Recipe(recipe) if isinstance(recipe, dict) else Recipe.read(recipe)
    output_dir = pathlib.Path(output_dir).expanduser()
    if writes:
        _prepare_folder(recipe, output_dir, restart)
    training = recipe.training
    options = {key: value for key, value in recipe.data.items() if value is not None and key != "source"}
    splits = data.load(recipe.data["source"], data_dir=data_dir, **options)
    if not (splits.num_train and splits.num_valid and splits.num_test):
        raise RecipeError(
            f"A run needs rows to train on, to choose the best epoch and to test. Received: {splits.num_train} train, "
            f"{splits.num_valid} validation and {splits.num_test} test rows; see valid_fraction and test_fraction in [data]."
        )

    keras.utils.set_random_seed(training["seed"])
    steps = -(-splits.num_train // recipe.data["batch_size"])
    if steps % training["steps_per_execution"]:
        raise RecipeError(  # Keras would take the missing steps from the next epoch.
            f"[training]: steps_per_execution must divide the {steps} steps of an epoch. "
            f"Received: steps_per_execution={training['steps_per_execution']}"
        )
    with strategy.scope():
        model = build_model(recipe, splits)
        model.compile(
            optimizer=build_optimizer(training, steps),
            **({} if training["xla"] is None else {"jit_compile": training["xla"]}),
            steps_per_execution=training["steps_per_execution"],
        )
    run = {**{k: v for k, v in recipe.sections.items() if k != "published"}, "sha256": splits.sha256}
    checkpoints = Checkpoints(output_dir / "checkpoints", patience=training["patience"], run=run, writes=writes)
    report(f"{type(model).__name__}, {count_weights(model):,} weights, on {splits.name}: {splits.num_train:,} train, "
           f"{splits.num_valid:,} validation, {splits.num_test:,} test rows.")  # fmt: skip
    if strategy.num_replicas_in_sync > 1:
        report(f"{strategy.num_replicas_in_sync} replicas share each batch of {recipe.data['batch_size']}.")
    try:
        if not restart and checkpoints.restore(model):
            within = f" and {checkpoints.steps} of {steps} steps" if checkpoints.steps else ""
            report(f"Going on after epoch {checkpoints.epochs} of {training['epochs']}{within}.")
    except CheckpointError as error:
        raise CheckpointError(f"{error} Start over (--restart), or choose another folder (--output).") from None
    if not int(model.adapted.numpy()):
        model.adapt(splits.train)

    # After `checkpoints`, which then sees the averaged weights when the validation ends.
    callbacks = [checkpoints, *([keras.callbacks.SwapEMAWeights()] if training["ema_momentum"] else [])]
    waiting = DataWait()
    callbacks.append(waiting)
    if tensorboard and writes:
        callbacks.append(keras.callbacks.TensorBoard(output_dir / "tensorboard"))
    with _stopped_by_sigterm(checkpoints):
        while not checkpoints.stopped and checkpoints.epochs < training["epochs"]:
            done = checkpoints.steps
            last = checkpoints.epochs + 1 if done else training["epochs"]  # First the rest of an interrupted epoch.
            model.fit(
                _sharded(splits.train_epochs(checkpoints.epochs, last).skip(done)),
                validation_data=_sharded(splits.valid),
                initial_epoch=checkpoints.epochs,
                epochs=last,
                steps_per_epoch=steps - done,
                callbacks=callbacks,
                shuffle=False,
                verbose=((1 if sys.stdout.isatty() else 2) if verbose == "auto" else verbose) if writes else 0,
            )
            if done:
                checkpoints.set_last_state(model)
    if not writes:
        return None
    if strategy.num_replicas_in_sync > 1:
        model = build_model(recipe, splits)  # Outside the strategy, where scoring, sampling and export need no other replica.
    checkpoints.set_best_weights(model)

    if waiting.share is not None:
        report(f"Waiting for data: {waiting.share:.1%} of the steps' time.")
    report("Evaluating the best epoch's weights.")
    results = {"validation": evaluate(model, splits.valid), "test": evaluate(model, splits.test)}
    card = make_card(recipe, splits, model, checkpoints, results, output_dir)
    pictures.curves(
        output_dir / "curves.png",
        checkpoints.history,
        best_epoch=checkpoints.best_epoch,
        title=f"{type(model).__name__} on {_data_name(splits)}",
    )
    _draw_samples(output_dir / "samples.png", model, splits, training["seed"])
    card["training"]["replicas"] = strategy.num_replicas_in_sync
    card["training"]["waiting_for_data"] = waiting.share
    model.export(output_dir / "1")
    _write_text(output_dir / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    checkpoints.remove()
    return card


@contextlib.contextmanager
def _stopped_by_sigterm(checkpoints):
    """Inside, SIGTERM saves the state after the step in progress and raises `Preempted`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: checkpoints.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    given = {key: value for key, value in recipe.model.items() if key != "class"}
    for key in given:
        if key not in known:
            raise RecipeError(f"[model]: {unknown_name(f'argument of {name}', key, known)}")
    found = {"event_shape": splits.event_shape, "levels": splits.levels, "seed": recipe.training["seed"]}
    if recipe.training["precision"] != "float32":
        found["dtype"] = recipe.training["precision"]
    if splits.condition_shape is not None:
        if "condition_shape" not in known:
            raise RecipeError(f"{name} takes no condition. Leave `condition` out of [data].")
        found["condition_shape"] = splits.condition_shape
    try:
        return cls(**{**{key: value for key, value in found.items() if key in known}, **given})
    except (TypeError, ValueError) as error:
        raise RecipeError(f"[model]: {name} could not be built from {given}: {error}") from None


def build_optimizer(training, steps_per_epoch):
    """The Keras optimizer of a recipe's [training]."""
    rate = training["learning_rate"]
    warmup, steps = (training[key] * steps_per_epoch for key in ("warmup_epochs", "epochs"))
    if training["schedule"] == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, max(1, steps - warmup), warmup_target=rate if warmup else None, warmup_steps=warmup
        )
    elif warmup:
        rate = keras.optimizers.schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate)
    config = {"learning_rate": rate, "clipnorm": training["clipnorm"]}
    if training["weight_decay"]:
        config["weight_decay"] = training["weight_decay"]
    if training["epsilon"]:
        if training["optimizer"] in ("sgd", "lion"):
            raise RecipeError(f"[training]: {training['optimizer']} has no epsilon. Received: epsilon={training['epsilon']}")
        config["epsilon"] = training["epsilon"]
    if training["accumulate_steps"]:
        config["gradient_accumulation_steps"] = training["accumulate_steps"]
    if training["ema_momentum"]:
        config.update(use_ema=True, ema_momentum=training["ema_momentum"])
    classes = {cls.__name__.lower(): cls for cls in vars(keras.optimizers).values() if inspect.isclass(cls)}
    return classes[training["optimizer"]](**config)


def count_weights(model):
    """How many numbers training changes."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def make_card(recipe, splits, model, checkpoints, results, output_dir):
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
        },
        "training": {
            **recipe.training,
            "batch_size": recipe.data["batch_size"],
            "epochs": checkpoints.epochs,
            "best_epoch": checkpoints.best_epoch,
            "hours": round(checkpoints.seconds / 3600, 4),
            "skipped_steps": int(model.skipped_steps.numpy()),
        },
        "is_bound": bool(model.is_bound),
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
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "accelerators": [
                tf.config.experimental.get_device_details(device).get("device_name", device.name)
                for device in tf.config.list_physical_devices("GPU")
            ],
        },
        "versions": {
            "tfdgm": tfdgm.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tensorflow-probability": importlib.metadata.version("tensorflow-probability"),
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": _command(output_dir),
    }


def _command(output_dir):
    parent = output_dir.resolve().parent
    if parent.name == "zoo" or parent in [folder.resolve() for folder in entries.folders()]:
        return f"tfdgm train {shlex.quote(output_dir.resolve().name)}"
    return f"tfdgm train {shlex.quote(str(output_dir / 'recipe.toml'))} --output {shlex.quote(f'{output_dir}_again')}"


def _prepare_folder(recipe, output_dir, restart):
    """Refuses to lose what is there; leaves recipe.toml in the folder."""
    checkpoints, copy = output_dir / "checkpoints", output_dir / "recipe.toml"
    if restart:
        Checkpoints(checkpoints).remove()
    elif (output_dir / "card.json").exists() and not checkpoints.exists():
        raise RecipeError(f"{output_dir} holds a finished run. Start over (--restart), or choose another folder (--output).")
    text = recipe.to_toml()
    if copy.exists() and copy.read_text() != text and not restart:
        there = Recipe.read(copy.parent / copy.name)
        if there.sections != recipe.sections:
            raise RecipeError(
                f"{copy} is another recipe than the one given. Start over (--restart), or choose another folder (--output)."
            )
    output_dir.mkdir(parents=True, exist_ok=True)
    if not copy.exists() or copy.read_text() != text:
        _write_text(copy, text)


def _draw_samples(path, model, splits, seed):
    condition = _conditions(splits)
    if pictures.is_image(model.event_shape):
        samples = model.sample(_SAMPLES, seed=seed, condition=condition)
        pictures.save_image(path, pictures.image_grid(samples, levels=model.levels, columns=10))
        return
    rows = _first_test_rows(splits, 2000)
    count = len(rows[0])
    samples = model.sample(count, seed=seed, condition=rows[1])
    pictures.vectors(path, samples, rows[0], title=f"{type(model).__name__} on {_data_name(splits)}")


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
    parts = []
    for batch in splits.test:
        parts.append(batch if isinstance(batch, tuple) else (batch, None))
        if sum(len(x) for x, _ in parts) >= count:
            break
    x = np.concatenate([x.numpy() for x, _ in parts])[:count]
    return x, None if parts[0][1] is None else np.concatenate([c.numpy() for _, c in parts])[:count]


def _data_name(splits):
    """Of a file its name without the folders, which mean nothing on another machine."""
    path = pathlib.Path(splits.name)
    return path.name if path.suffix else splits.name


def _write_text(path, text):
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


def _cpu():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
