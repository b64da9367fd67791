"""What makes a model that has its best weights a zoo entry: all its files but recipe.toml."""

import importlib.metadata
import json
import pathlib
import shlex

import numpy as np

from tfdgm.distributions.some_rows import by_weight
from tfdgm.training import pictures
from tfdgm.zoo import entries, run_folder
from tfdgm.zoo.cards import Card, Data
from tfdgm.zoo.evaluation import evaluate
from tfdgm.zoo.trainer import count_weights

_COLUMNS = 10  # And rows, of the samples.


def write_entry(folder, recipe, splits, model, record, valid, more):
    """Tests a model that has its best weights, and writes all of an entry but recipe.toml. Returns the card as a dict.

    Args:
      folder: of the run.
      recipe, splits, model: of the run.
      record: what `Trainer.record` knew of it.
      valid: the model's `Evaluation` on the validation split.
      more: what else the card says of training.
    """
    card = _card(folder, recipe, splits, model, record, valid, evaluate(model, splits.test), more).to_dict()
    title = f"{type(model).__name__} on {card['data']['name']}"
    pictures.curves(folder / "curves.png", record["history"], best_epoch=record["best_epoch"], title=title)
    _draw_samples(folder / "samples.png", model, splits, recipe.training["seed"], title)
    model.export(folder / "1")
    run_folder.write_text(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def _card(folder, recipe, splits, model, record, valid, test, more):
    published = None
    if recipe.published:
        ours = test.nll if recipe.published["unit"] == "nats" else test.bits_per_dim
        published = {**recipe.published, "reached": ours is not None and ours <= recipe.published["value"]}
    path = pathlib.Path(recipe.data["source"])
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "tensorflow-probability")}
    return Card(
        name=folder.resolve().name,
        model={"class": type(model).__name__, "config": model.get_config(), "parameters": count_weights(model)},
        data=Data(
            name=path.name if path.suffix else str(path),  # Without folders, which mean nothing on another machine.
            description=splits.description.replace(splits.name, str(path)),
            sha256=splits.sha256,
            train=splits.num_train,
            validation=splits.num_valid,
            test=splits.num_test,
            event_shape=splits.event_shape,
            levels=splits.levels,
            condition_shape=splits.condition_shape,
            condition=recipe.data["condition"],
            columns=splits.columns,
            weight=recipe.data["weight"],
        ),
        training={
            **recipe.training,
            "batch_size": recipe.data["batch_size"],
            "epochs": record["epochs"],
            "best_epoch": record["best_epoch"],
            "hours": round(record["seconds"] / 3600, 4),
            "backend": record["backend"],
            **more,
        },
        is_bound=bool(model.is_bound),
        kind=model.kind,
        validation=valid,
        test=test,
        published=published,
        machine=record["machine"],
        versions={**record["versions"], **versions},
        date=record["date"],
        command=_command(folder, record["backend"]),
    )


def _command(folder, backend):
    parent, name = folder.resolve().parent, folder.resolve().name
    if parent.name == "zoo" or parent in [path.resolve() for path in entries.folders()]:
        train, again = f"tfdgm train {shlex.quote(name)}", f"runs/{name}"
    else:
        here = pathlib.Path(name) if folder.is_absolute() else folder
        again = f"{here}_again"
        train = f"tfdgm train {shlex.quote(str(here / 'recipe.toml'))} --output {shlex.quote(again)}"
    return train if backend == "tensorflow" else f"KERAS_BACKEND={backend} {train} && tfdgm export {shlex.quote(again)}"


def _draw_samples(path, model, splits, seed, title):
    if pictures.is_image(model.event_shape):
        conditions, captions, columns = _conditions(splits)
        samples = model.sample(10 * columns, seed=seed, condition=conditions)
        grid = pictures.image_grid(samples, levels=model.levels, columns=columns, captions=captions)
        pictures.save_image(path, grid)
        return
    rows = _first_test_rows(splits, 2000)
    rows = by_weight(rows, 2000) if "weight" in rows else rows  # As often as samples should be like them.
    samples = model.sample(len(rows["x"]), seed=seed, condition=rows.get("condition"))
    pictures.vectors(path, samples, rows["x"], names=splits.columns, title=title)


def _conditions(splits):
    """One condition a sample, the captions, and the number of columns: each of one class where there are up to 10 of them. Where
    conditions are not one-hot, they are those of test rows."""
    if splits.condition_shape is None:
        return None, None, _COLUMNS
    condition = _first_test_rows(splits, 10 * _COLUMNS)["condition"]
    if condition.ndim == 2 and np.isin(condition, (0, 1)).all() and (condition.sum(axis=1) == 1).all():
        classes = condition.shape[1]
        columns = _COLUMNS - _COLUMNS % classes or _COLUMNS
        numbers = np.arange(10 * columns) % classes
        captions = splits.classes and [splits.classes[i] for i in (numbers if columns % classes else numbers[:columns])]
        return np.eye(classes, dtype=np.float32)[numbers], captions, columns
    return np.resize(condition, (10 * _COLUMNS, *splits.condition_shape)), None, _COLUMNS


def _first_test_rows(splits, count):
    """A batch of up to `count` test rows."""
    return next(splits.test.unbatch().batch(count).as_numpy_iterator())
