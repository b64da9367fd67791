import abc
import datetime
import math
import platform
import sys

import keras

import tfdgm
from tfdgm.zoo import machine


class Trainer(abc.ABC):
    """A recipe under one kind of Keras's backends: its data, its model, and what it leaves in the folder of the run.

    Attributes:
      recipe, folder: of the run.
      writes: whether this process writes; of several workers one does.
      devices: what is said of them when training starts.
      identity: what a checkpoint must say beside recipe and data, to be one of this run.
      data: what `load` has read, with `name` and `sha256`.
      model: what `build` has built, a Keras model.
    """

    writes, devices, identity = True, "", {}

    def __init__(self, recipe, folder):
        self.recipe, self.folder = recipe, folder

    @abc.abstractmethod
    def load(self, data_dir):
        """Sets `data`. Returns how many rows train, valid and test have."""

    @abc.abstractmethod
    def build(self, steps):
        """Sets `model`, compiled for epochs of so many steps."""

    @abc.abstractmethod
    def adapt(self):
        """Sets what depends on the training data in a model that starts."""

    def start(self):
        """Sets what the first step begins from."""
        self.adapt()

    @abc.abstractmethod
    def fit(self, checkpoints, *, epochs, callbacks, **options):
        """Keras's `fit` from the state of the checkpoints until there are so many epochs, with the validation split."""

    @abc.abstractmethod
    def finish(self, checkpoints, report):
        """Writes what a finished run leaves, of the best epoch's weights. Returns what is known of it, plain values."""

    def record(self, checkpoints):
        """What is known of a run when training ends, beside its weights: plain values."""
        backend = keras.backend.backend()
        return {
            "recipe": self.recipe.identity,
            "sha256": self.data.sha256,
            "epochs": checkpoints.epochs,
            "best_epoch": checkpoints.best_epoch,
            "best_loss": checkpoints.best_loss,
            "seconds": checkpoints.seconds,
            "history": checkpoints.history,
            "backend": backend,
            "machine": machine.describe(),
            "versions": {
                "tfdgm": tfdgm.__version__,
                "python": platform.python_version(),
                backend: sys.modules[backend].__version__,
                "keras": keras.__version__,
            },
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }


def count_weights(model):
    """How many numbers training changes."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
