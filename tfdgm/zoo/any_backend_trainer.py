import json

import keras
import numpy as np

from tfdgm import data, networks
from tfdgm.training import AutoregressiveTrainer, Batches, Preempted
from tfdgm.unknown_name import unknown_name
from tfdgm.written_aside import aside_of, locked
from tfdgm.zoo import run_folder
from tfdgm.zoo.optimizer import compile_model
from tfdgm.zoo.recipe import RecipeError
from tfdgm.zoo.trainer import Trainer

#: Networks whose model of the same name is no more than the network and a family of levels.
NETWORKS = [
    name
    for name in networks.__all__
    if isinstance(getattr(networks, name), type)
    and issubclass(getattr(networks, name), networks.AutoregressiveNetwork)
    and name not in ("AutoregressiveNetwork", "ImageNetwork", "MADE")
]


class AnyBackendTrainer(Trainer):
    """Trains an `AutoregressiveTrainer` from `Batches`, on one device, and writes weights.weights.h5 and record.json; when it is
    stopped before the end, of the best epoch so far. Imports no TensorFlow."""

    def __init__(self, recipe, folder, *, strategy, tensorboard):
        super().__init__(recipe, folder)
        backend = keras.backend.backend()
        if strategy not in ("auto", "default") or tensorboard:
            raise RecipeError(f"--strategy and --tensorboard need TensorFlow. Keras's backend is {backend}.")
        if recipe.start:
            raise RecipeError(f"[training]: start needs TensorFlow. Keras's backend is {backend}.")
        self.devices, self.identity = f" Keras runs on {backend}.", {"backend": backend}

    def load(self, data_dir):
        if self.recipe.data["weight"] is not None:
            raise RecipeError("[data]: weight needs TensorFlow. Image models under another backend take none.")
        options = {key: value for key, value in self.recipe.data_options().items() if key != "batch_size"}
        self.data = data.load_arrays(self.recipe.source, data_dir=data_dir, **options)
        return tuple(len(self.data.parts[split].rows) for split in ("train", "valid", "test"))

    def build(self, steps):
        self._steps = steps
        self.model = build_model(self.recipe, self.data)
        compile_model(self.model, self.recipe.training, steps)

    def adapt(self):
        part = self.data.parts["train"]
        first = part.rows[:65536]
        self.model.adapt(part.x[first], None if part.condition is None else part.condition[first])

    def fit(self, checkpoints, *, epochs, callbacks, **options):
        parts, size, seed = self.data.parts, self.recipe.data["batch_size"], self.recipe.data["seed"]
        first_step = checkpoints.epochs * self._steps + checkpoints.steps
        try:
            self.model.fit(
                Batches(parts["train"], size, seed=seed, first_step=first_step),
                validation_data=Batches(parts["valid"], size),
                initial_epoch=checkpoints.epochs,
                epochs=epochs,
                shuffle=False,
                callbacks=[_StopOnNaN(), *callbacks],
                **options,
            )
        except Preempted:
            if checkpoints.best_epoch is not None:
                self.finish(checkpoints)
            raise

    def finish(self, checkpoints, report=None):
        checkpoints.set_best_weights(self.model)
        path = self.folder / run_folder.WEIGHTS
        with locked(path), aside_of(path, ".weights.h5") as aside:
            self.model.save_weights(aside)
            aside.replace(path)
        record = self.record(checkpoints)
        run_folder.write_text(self.folder / run_folder.RECORD, json.dumps(record, indent=1) + "\n")
        return record


def build_model(recipe, content):
    """The recipe's network and family as an `AutoregressiveTrainer`; shape, levels and condition are those of `content`."""
    name = recipe.model["class"]
    if name not in NETWORKS:
        raise RecipeError(f"Under Keras's {keras.backend.backend()} backend: {unknown_name('image model', name, NETWORKS)}")
    if content.levels is None:
        raise RecipeError(f"Image models take integers. Received: {content.name}, which is real-valued; see levels in [data].")
    cls = getattr(networks, name)
    defaults = {p.name: p.default for p in networks.parameters_of(cls)}

    def make(dtype=None, **arguments):
        policy = keras.dtype_policies.get(dtype)
        half = policy.compute_dtype != policy.variable_dtype
        network, family = networks.of_levels(cls, **{**defaults, **arguments}, dtype=policy.variable_dtype)
        return AutoregressiveTrainer(network, family, precision=policy.name if half else None)

    part = content.parts["train"]
    condition_shape = None if part.condition is None else part.condition.shape[1:]
    return recipe.build_model(make, {*defaults, "dtype", "name"}, part.x.shape[1:], content.levels, condition_shape)


class _StopOnNaN(keras.callbacks.Callback):
    """Before the next checkpoint is written: the last one goes on from finite weights."""

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"Training stopped: the loss is {logs['loss']} at step {batch + 1} of this epoch. A lower learning rate or "
                "`clipnorm` usually help; they make another run (--restart)."
            )
