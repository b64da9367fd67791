import json
import os
import pathlib
import shutil
import time
import zipfile

import keras
import numpy as np


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""


class Checkpoints(keras.callbacks.Callback):
    """The whole state of a training, saved after every epoch: kill the process at any time, and `restore` goes on from there.

    State: weights, random generators, optimizer (with its moving average of weights), epochs, history, best weights, seconds.
    It is one file, written aside, flushed and renamed: on disk there is always one that is complete. Keras's BackupAndRestore
    is not enough: it overwrites in place, and knows neither best weights nor history.

    Early stopping is here as well, because its state belongs to the rest. The weights that were validated are those kept as
    best: with `keras.callbacks.SwapEMAWeights` after this callback, the moving average.

    Args:
      folder: where to; nothing else may lie in it.
      patience: epochs without a better `val_loss` after which training stops, or None.
      run: plain values that say which run this is; a checkpoint of another is refused.
    """

    def __init__(self, folder, *, patience=None, run=None):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.patience = patience
        self.run = json.loads(json.dumps(run))
        self.epochs = 0
        self.history = {}
        self.best_epoch = None  # 1 is the first.
        self.best_loss = float("inf")
        self.stopped = False
        self.seconds = 0.0
        self._best_weights = None

    def restore(self, model):
        """Sets `model`, its optimizer and this callback to the last complete checkpoint. Returns whether there was one."""
        state = self.folder / "state.npz"
        if not state.exists():
            return False
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        meta, values = _read(state)
        if meta["run"] != self.run:
            changes = ", ".join(_differences(meta["run"], self.run))
            raise CheckpointError(f"{self.folder} belongs to a run with other settings ({changes}).")
        if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise CheckpointError(f"{state} holds other weights than this model: it was written by another version.")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.epochs, self.history, self.stopped = meta["epochs"], meta["history"], meta["stopped"]
        self.best_epoch, self.seconds = meta["best_epoch"], meta["seconds"]
        if self.best_epoch is not None:
            self.best_loss = meta["best_loss"]
            self._best_weights = _read(self._best_path())[1]
        return True

    def set_best_weights(self, model):
        """Gives `model` the weights of the best epoch."""
        if self._best_weights is None:
            raise FloatingPointError("The validation loss was finite in no epoch: there are no best weights.")
        for variable, value in zip(model.weights, self._best_weights, strict=True):
            variable.assign(value)

    def remove(self):
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_begin(self, logs=None):
        self._started, self._before = time.monotonic(), self.seconds

    def on_test_end(self, logs=None):
        # Here and not at the epoch's end: SwapEMAWeights holds the averaged weights in the model during validation only.
        loss = float(logs["loss"])
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epochs + 1
            self._best_weights = [np.array(w) for w in self.model.weights]

    def on_epoch_end(self, epoch, logs=None):
        self.epochs = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self.seconds = self._before + time.monotonic() - self._started
        if self.patience and self.epochs - (self.best_epoch or 0) >= self.patience:
            self.stopped = self.model.stop_training = True
        self._save()

    def _save(self):
        meta = {name: getattr(self, name) for name in ("run", "epochs", "history", "stopped", "best_epoch", "seconds")}
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.best_epoch is not None:
            meta["best_loss"] = self.best_loss
            if not self._best_path().exists():
                _write(self._best_path(), {}, self._best_weights)
        _write(self.folder / "state.npz", meta, [np.array(v) for v in _variables(self.model)])
        for path in self.folder.iterdir():
            if path.name not in ("state.npz", self._best_path().name):
                path.unlink()

    def _best_path(self):
        return self.folder / f"best-{self.best_epoch}.npz"


def _variables(model):
    """All that training changes: weights, random generators and metrics, then the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def _write(path, meta, values):
    aside = path.with_name(f".{path.name}.new")
    try:
        with open(aside, "wb") as file:
            np.savez(file, meta=json.dumps(meta), **{f"{i:05d}": value for i, value in enumerate(values)})
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    os.replace(aside, path)


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file["meta"])), [file[name] for name in sorted(file.files) if name != "meta"]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, FileNotFoundError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged: {error}") from None


def _differences(there, here):
    """ "section.key: there X, here Y" of two nested dicts."""
    for section in sorted({*(there or {}), *(here or {})}):
        a, b = (there or {}).get(section), (here or {}).get(section)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from (f"{section}.{text}" for text in _differences(a, b))
        elif a != b:
            yield f"{section}: there {a!r}, here {b!r}"
