import contextlib
import json
import os
import pathlib
import shutil
import time
import typing
import zipfile

import keras
import numpy as np

from tfdgm.from_outside import parse_json
from tfdgm.written_aside import written_aside


class _Meta(typing.TypedDict):
    run: dict | None
    epochs: int
    steps: int
    history: dict
    stopped: bool
    best_epoch: int | None
    seconds: float
    best_loss: typing.NotRequired[float]


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""


class Preempted(Exception):
    """A training that was asked to stop has saved its state and ended."""


class Checkpoints(keras.callbacks.Callback):
    """The whole state of a training, saved as it goes: kill the process at any time, and `restore` goes on from there.

    It is saved after every epoch, every few minutes within one, and when `stop` asks for it. The history's training loss of an
    epoch that was interrupted is that of its last part.

    State: weights, random generators, optimizer (with its moving average of weights), epochs and the steps of the next one,
    history, best weights, seconds.
    It is one file, written aside, flushed and renamed: on disk there is always one that is complete. Keras's BackupAndRestore
    is not enough: it overwrites in place, and knows neither best weights nor history.

    Early stopping is here as well, because its state belongs to the rest. The weights that were validated are those kept as
    best: with `keras.callbacks.SwapEMAWeights` after this callback, the moving average.

    Args:
      folder: where to; nothing else may lie in it.
      patience: epochs without a better `val_loss` after which training stops, or None.
      run: plain values that say which run this is; a checkpoint of another is refused.
      minutes: between two saves within an epoch.
      writes: whether this process writes; of several workers only one may.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        patience: int | None = None,
        run: dict | None = None,
        minutes: float = 10,
        writes: bool = True,
    ):
        super().__init__()
        self.minutes, self.writes = minutes, writes
        self.steps = 0  # Of the epoch after the complete ones.
        self._asked_to_stop = False
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

    def restore(self, model: keras.Model) -> bool:
        """Sets `model`, its optimizer and this callback to the last complete checkpoint. Returns whether there was one."""
        state = self.folder / "state.npz"
        if not state.exists():
            return False
        strategy = getattr(model, "distribute_strategy", None)  # Of TensorFlow.
        with strategy.scope() if strategy else contextlib.nullcontext():
            model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        meta, values = _read(state, _Meta)
        if meta["run"] != self.run:
            changes = ", ".join(_differences(meta["run"], self.run))
            raise CheckpointError(f"{self.folder} belongs to a run with other settings ({changes}).")
        if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise CheckpointError(f"{state} holds other weights than this model: it was written by another version.")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.epochs, self.history, self.stopped = meta["epochs"], meta["history"], meta.get("stopped", False)
        self.steps = meta["steps"]
        self.best_epoch, self.seconds = meta["best_epoch"], meta["seconds"]
        if self.best_epoch is not None:
            self.best_loss, self._best_weights = meta.get("best_loss", float("inf")), _read(self._best_path())[1]
            if [w.shape for w in self._best_weights] != [tuple(w.shape) for w in model.weights]:
                raise CheckpointError(f"{self._best_path()} holds other weights than this model.")
        return True

    def set_best_weights(self, model: keras.Model) -> None:
        """Gives `model` the weights of the best epoch."""
        if self._best_weights is None:
            raise FloatingPointError("The validation loss was finite in no epoch: there are no best weights.")
        for variable, value in zip(model.weights, self._best_weights, strict=True):
            variable.assign(value)

    def set_last_state(self, model: keras.Model) -> None:
        """Gives `model` and its optimizer the state at the last epoch's end, which the end of `fit` changes where weights are
        averaged: for a `fit` that goes on after the rest of an interrupted epoch."""
        for variable, value in zip(_variables(model), self._last_state, strict=True):
            variable.assign(value)

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """Asks the training to save its state after this step and to end with `Preempted`."""
        self._asked_to_stop = True

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._started, self._before = time.monotonic(), self.seconds
        self._saved = self._started

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._first_step = self.steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.steps = self._first_step + batch + 1
        due = self._asked_to_stop or time.monotonic() - self._saved > 60 * self.minutes
        if due and batch + 1 < self.params["steps"]:  # After the last step comes the validation, and then a save anyway.
            self._save()

    def on_test_end(self, logs: dict | None = None) -> None:
        # Here and not at the epoch's end: SwapEMAWeights holds the averaged weights in the model during validation only.
        loss = float(logs["loss"])
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epochs + 1
            self._best_weights = [np.array(w) for w in self.model.weights]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs, self.steps = epoch + 1, 0
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.patience and self.epochs - (self.best_epoch or 0) >= self.patience:
            self.stopped = self.model.stop_training = True
        self._last_state = [np.array(v) for v in _variables(self.model)] if self._first_step else None
        self._save()

    def _save(self):
        self._saved = time.monotonic()
        self.seconds = self._before + self._saved - self._started
        if self.writes:
            self._write_state()
        if self._asked_to_stop:
            raise Preempted(f"after epoch {self.epochs} and {self.steps} steps")

    def _write_state(self):
        meta = {name: getattr(self, name) for name in ("run", "epochs", "steps", "history", "stopped", "best_epoch", "seconds")}
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
    """All that training changes: weights and random generators, then the optimizer's. Metrics start anew with every epoch, and
    reading one takes all workers."""
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    return [*[v for v in model.variables if id(v) not in metrics], *model.optimizer.variables]


def _write(path, meta, values):
    with written_aside(path) as file:
        np.savez(file, meta=json.dumps(meta), **{f"{i:05d}": value for i, value in enumerate(values)})


def _read(path, kind=dict):
    try:
        if path.exists() and not path.is_file():  # To read a pipe takes for ever.
            raise ValueError("it is no file")
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:  # NumPy leaves a damaged file open.
            return parse_json(str(file["meta"]), kind), [file[name] for name in sorted(file.files) if name != "meta"]
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
