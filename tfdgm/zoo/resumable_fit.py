"""A fit that goes on from its checkpoints, and can be stopped."""

import contextlib
import signal
import sys
import threading

import keras

from tfdgm.training import CheckpointError


def restore(trainer, checkpoints, folders, steps, report):
    """Sets the trainer's model and the checkpoints to the first state there is in these folders, and says so. Returns whether
    there was one."""
    try:
        if not any(checkpoints.restore(trainer.model, folder) for folder in folders):
            return False
    except CheckpointError as error:
        raise CheckpointError(f"{error} Start over (--restart), or choose another folder (--output).") from None
    within = f" and {checkpoints.steps} of {steps} steps" if checkpoints.steps else ""
    report(f"Going on after epoch {checkpoints.epochs} of {trainer.recipe.training['epochs']}{within}.")
    return True


def fit(trainer, checkpoints, steps, verbose):
    """The trainer's `fit` from the state of the checkpoints to the last epoch; an epoch has so many steps."""
    training = trainer.recipe.training
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    # After the checkpoints, which then see the averaged weights when the validation ends.
    callbacks = [checkpoints, *([keras.callbacks.SwapEMAWeights()] if training["ema_momentum"] else [])]
    while not checkpoints.stopped and checkpoints.epochs < training["epochs"]:
        done = checkpoints.steps
        last = checkpoints.epochs + 1 if done else training["epochs"]  # First the rest of an interrupted epoch.
        trainer.fit(checkpoints, epochs=last, steps_per_epoch=steps - done, callbacks=callbacks, verbose=verbose)
        if done:
            checkpoints.set_last_state(trainer.model)


@contextlib.contextmanager
def stopped(checkpoints, after=None):
    """Inside, the state is saved after the step in progress and `Preempted` is raised on SIGTERM, and when `after` seconds are
    over."""
    timer = threading.Timer(after or 0, checkpoints.stop)
    timer.daemon = True
    if after is not None:
        timer.start()
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: checkpoints.stop()) if main else None
    try:
        yield
    finally:
        timer.cancel()
        if main:
            signal.signal(signal.SIGTERM, before)
