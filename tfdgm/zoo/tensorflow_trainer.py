import importlib.util
import inspect

import keras
import tensorflow as tf

from tfdgm import data, models
from tfdgm.training import DataWait, is_chief, make_strategy
from tfdgm.unknown_name import unknown_name
from tfdgm.zoo import loading
from tfdgm.zoo.entry_writer import write_entry
from tfdgm.zoo.evaluation import evaluate
from tfdgm.zoo.optimizer import compile_model
from tfdgm.zoo.recipe import RecipeError
from tfdgm.zoo.trainer import Trainer


class TensorFlowTrainer(Trainer):
    """Trains a `DensityModel` from `tf.data`, on the devices of a `tf.distribute` strategy, and writes a zoo entry."""

    def __init__(self, recipe, folder, *, strategy, tensorboard):
        super().__init__(recipe, folder)
        if tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise RecipeError("Logs for TensorBoard need the package tensorboard: pip install 'tfdgm[tensorboard]'.")
        self.strategy = make_strategy(strategy)
        self.replicas = self.strategy.num_replicas_in_sync
        self.writes = not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy) or is_chief()
        if self.replicas > 1:
            self.devices = f"\n{self.replicas} replicas share each batch of {recipe.data['batch_size']}."
        self._waiting = DataWait()
        self._logs = [keras.callbacks.TensorBoard(folder / "tensorboard")] if tensorboard and self.writes else []

    def load(self, data_dir):
        options = self.recipe.data_options()
        if self.recipe.start:
            self._source = loading.load(self.recipe.start)
            options = {"levels": self._source.levels, "columns": self._source.column_names, **options}
        self.data = data.load(self.recipe.source, data_dir=data_dir, **options)
        return self.data.num_train, self.data.num_valid, self.data.num_test

    def build(self, steps):
        with self.strategy.scope():
            self.model = build_model(self.recipe, self.data)
            compile_model(self.model, self.recipe.training, steps)

    def adapt(self):
        self.model.adapt(self.data.train)

    def start(self):
        if not self.recipe.start:
            self.adapt()
            return
        there, here = map(_shapes, (self._source, self.model))
        for name, expected in there.items():
            if here[name] != expected:
                raise RecipeError(
                    f"[training]: start must be a model of the same shape. Expected {name}={expected} as in {self.recipe.start}. "
                    f"Received: {here[name]}. --set training.start=None trains from the beginning."
                )
        with self.strategy.scope():
            for weight, value in zip(self.model.weights, self._source.weights, strict=True):
                weight.assign(value)

    def fit(self, checkpoints, *, epochs, callbacks, **options):
        self.model.fit(
            _sharded(self.data.train_epochs(checkpoints.epochs, epochs).skip(checkpoints.steps)),
            validation_data=_sharded(self.data.valid),
            initial_epoch=checkpoints.epochs,
            epochs=epochs,
            callbacks=[*callbacks, self._waiting, *self._logs],
            **options,
        )

    def finish(self, checkpoints, report):
        model = self.model
        if self.replicas > 1:  # Outside the strategy, where scoring, sampling and export need no other replica.
            model = build_model(self.recipe, self.data)
        checkpoints.set_best_weights(model)
        waiting = self._waiting.share
        if waiting is not None:
            report(f"Waiting for data: {waiting:.1%} of the steps' time.")
        report("Evaluating the best epoch's weights.")
        valid, skipped = evaluate(model, self.data.valid), int(model.skipped_steps.numpy())
        more = {"skipped_steps": skipped, "replicas": self.replicas, "waiting_for_data": waiting}
        return write_entry(self.folder, self.recipe, self.data, model, self.record(checkpoints), valid, more)


def build_model(recipe, splits):
    """The recipe's model, with event_shape, levels, condition_shape and seed from the data and training where not given."""
    name = recipe.model["class"]
    classes = [n for n in models.__all__ if n != "DensityModel"]
    if name not in classes:
        raise RecipeError(unknown_name("model", name, classes))
    cls = getattr(models, name)
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    model = recipe.build_model(cls, known, splits.event_shape, splits.levels, splits.condition_shape)
    if splits.columns and model.event_shape == (len(splits.columns),):
        model.column_names = tuple(splits.columns)  # A DataFrame given to the model later is put in their order.
    model.class_names = splits.classes
    return model


def _shapes(model):
    names = ("event_shape", "levels", "condition_shape")
    weights = [tuple(weight.shape) for weight in model.weights]
    return {**{name: getattr(model, name) for name in names}, "weights": weights}


def _sharded(dataset):
    """With a worker taking its part of every batch: the files of our data sets cannot be dealt out."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
