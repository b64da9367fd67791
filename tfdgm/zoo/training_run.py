import threading

import keras

from tfdgm.expanded import expanded
from tfdgm.training import Checkpoints
from tfdgm.written_aside import locked
from tfdgm.zoo import machine, resumable_fit, run_folder
from tfdgm.zoo.recipe import Recipe, RecipeError
from tfdgm.zoo.trainer import count_weights


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
    test split is evaluated once, at the end, with the weights of the best validation epoch. The last state then lies under
    output_dir/last: called again with more epochs, or more patience, the run goes on from there, as if it had had them from the
    beginning but for a schedule, which is that of the longer run from here on. Without that folder it cannot.

    One process at a time trains in a folder, which is new, holds a recipe, or is a run; what else lies in it stays.

    Of several workers (strategy "multi_worker") each calls this with the same arguments. The first one writes, and returns the
    card; all read output_dir/checkpoints, so it must lie where all see it.

    Under another backend of Keras, TensorFlow not needed, it trains autoregressive image models on one device and writes
    recipe.toml, weights.weights.h5 (of the best epoch, so far where it was stopped) and record.json, of which
    `tfdgm.zoo.exporting.export_run` makes the entry under TensorFlow. Dropout and data have the seeds of the recipe, but initial
    weights, rounding and the order of rows are others than under TensorFlow.

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
      The card, a dict; under another backend than TensorFlow the record. None on a worker that does not write.
    """
    recipe, folder = Recipe.of(recipe), expanded(output_dir)
    if stop_after is not None and not 0 <= stop_after <= threading.TIMEOUT_MAX:
        raise ValueError(f"`stop_after` must be at least 0 seconds, or None. Received: {stop_after}")
    trainer = _trainer_class()(recipe, folder, strategy=strategy, tensorboard=tensorboard)
    if not trainer.writes:
        return _train(trainer, data_dir, restart, stop_after, 0, lambda line: None)
    run_folder.check(folder, recipe, restart)
    with locked(folder / "run"):
        return _train(trainer, data_dir, restart, stop_after, verbose, report)


def _train(trainer, data_dir, restart, stop_after, verbose, report):
    recipe, folder = trainer.recipe, trainer.folder
    num_train, num_valid, num_test = trainer.load(data_dir)
    steps = recipe.steps_of_epoch(num_train, num_valid, num_test)

    keras.utils.set_random_seed(recipe.training["seed"])
    trainer.build(steps)
    run = {**run_folder.identity(recipe), "sha256": trainer.data.sha256, **trainer.identity}
    states = run_folder.state_folders(folder)
    checkpoints = Checkpoints(
        states[0],
        patience=recipe.training["patience"],
        run=run,
        writes=trainer.writes,
        begin=lambda: run_folder.begin(folder, recipe, restart),
    )
    report(f"{recipe.model['class']}, {count_weights(trainer.model):,} weights, on {trainer.data.name}: {num_train:,} train, "
           f"{num_valid:,} validation, {num_test:,} test rows.{trainer.devices}")  # fmt: skip
    machine.report_emulation(recipe.training["precision"], report)
    if restart or not resumable_fit.restore(trainer, checkpoints, states, steps, report):
        trainer.start()
    elif not checkpoints.exist() and (checkpoints.stopped or checkpoints.epochs >= recipe.training["epochs"]):
        raise RecipeError(
            f"The run in {folder} ended after {checkpoints.epochs} epochs{' by its patience' if checkpoints.stopped else ''}: it "
            f"goes on with more {'--patience' if checkpoints.stopped else '--epochs'}."
        )

    with resumable_fit.stopped(checkpoints, stop_after):
        resumable_fit.fit(trainer, checkpoints, steps, verbose)
    if not trainer.writes:
        return None
    run_folder.begin_outputs(folder)
    result = trainer.finish(checkpoints, report)
    run_folder.finish(folder)
    return result


def _trainer_class():
    # Imported here: another backend does without TensorFlow.
    if keras.backend.backend() == "tensorflow":
        from tfdgm.zoo.tensorflow_trainer import TensorFlowTrainer as Trainer
    else:
        from tfdgm.zoo.any_backend_trainer import AnyBackendTrainer as Trainer
    return Trainer
