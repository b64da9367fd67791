import time

import keras


class DataWait(keras.callbacks.Callback):
    """Measures how much of the training steps' time is spent waiting for the next batch.

    `share`: waiting time / step time over all steps but each `fit`'s first, from 0 to 1, or None before there were any. Of
    trainings with steps_per_execution > 1 nothing is measured: there, batches are fetched inside the compiled loop.
    """

    def __init__(self):
        super().__init__()
        self.waited = self.total = 0.0

    @property
    def share(self) -> float | None:
        return round(self.waited / self.total, 4) if self.total else None

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.model.steps_per_execution > 1:
            return
        inner = self.model.train_function
        first = True

        def timed(iterator):
            nonlocal first
            start = time.perf_counter()
            batch = next(iterator)
            fetched = time.perf_counter()
            logs = inner([batch])
            if not first:  # The first one compiles.
                self.waited += fetched - start
                self.total += time.perf_counter() - start
            first = False
            return logs

        self.model.train_function = timed

    def on_train_end(self, logs: dict | None = None) -> None:
        self.model.train_function = None  # Keras makes it anew.
