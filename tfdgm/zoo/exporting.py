import json
import typing

from tfdgm import data
from tfdgm.expanded import expanded
from tfdgm.from_outside import OutsideError, parse_json, read_text
from tfdgm.training import AutoregressiveTrainer, Checkpoints
from tfdgm.zoo import run_folder
from tfdgm.zoo.entry_writer import write_entry
from tfdgm.zoo.evaluation import evaluate
from tfdgm.zoo.recipe import Recipe, RecipeError
from tfdgm.zoo.tensorflow_trainer import build_model
from tfdgm.zoo.trainer import count_weights


class _Record(typing.TypedDict):
    recipe: dict
    sha256: str
    backend: str
    epochs: int
    best_epoch: int
    best_loss: float
    seconds: float
    history: dict
    machine: dict
    versions: dict
    date: str


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
    folder = expanded(folder)
    recipe = Recipe.read(folder / "recipe.toml")
    try:
        record = parse_json(read_text(folder / run_folder.RECORD), _Record)
    except OutsideError as error:
        raise RecipeError(f"{folder / run_folder.RECORD} is damaged: {error}") from None
    if record["recipe"] != json.loads(json.dumps(recipe.identity)):
        raise RecipeError(f"{folder / 'recipe.toml'} is another recipe than the one that {run_folder.RECORD} there tells of.")
    splits = data.load(recipe.source, data_dir=data_dir, **recipe.data_options())
    if splits.sha256 != record["sha256"]:
        raise RecipeError(
            f"{splits.name} is not the data of the run: expected sha256 {record['sha256']}. Received: {splits.sha256}"
        )
    model = build_model(recipe, splits)
    inner = model.distribution
    trainer = AutoregressiveTrainer(inner.network, inner.family, condition_scaling=inner.condition_scaling)
    trainer.load_weights(folder / run_folder.WEIGHTS)
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
    card = write_entry(folder, recipe, splits, model, record, valid, more)
    if not Checkpoints(folder / "checkpoints").exist():
        (folder / run_folder.RECORD).unlink()
        (folder / run_folder.WEIGHTS).unlink()
    return card
