import warnings
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from tfdgm.training.replicas import num_replicas, replica_id, total

LIMIT = 10


def guarded_update(model: keras.Model, weights: Sequence[keras.Variable], gradients: Sequence[tf.Tensor | None]) -> None:
    """Applies the gradients where all are finite; otherwise no weight changes and the step is counted as skipped.

    Under a `tf.distribute` strategy the replicas' gradients are summed first: clipping sees the sum, and all skip together.

    Sets `model.skipped_steps` (in all), `skipped_in_a_row` and `non_finite_weight` (the first weight concerned).
    """
    optimizer = model.optimizer
    gradients = [tf.zeros_like(w) if g is None else tf.convert_to_tensor(g) for w, g in zip(weights, gradients, strict=True)]
    gradients = total(gradients)
    finite = tf.stack([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
    all_finite = tf.reduce_all(finite)
    replicated = num_replicas() > 1
    if replicated:
        # Keras sums over the replicas once more, after clipping: only the first one brings the gradient.
        gradients = [tf.where(tf.equal(replica_id(), 0), g, tf.zeros_like(g)) for g in gradients]

    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer.apply(gradients, weights)  # Skips by itself, and lowers its scale.
    elif not replicated:
        ops.cond(all_finite, lambda: optimizer.apply(gradients, weights), lambda: None)
    else:
        # A condition around updates is possible across replicas only.
        def apply(strategy, all_finite, gradients):
            first = strategy.experimental_local_results(all_finite)[0]
            each = strategy.extended.call_for_each_replica
            tf.cond(first, lambda: each(_apply, args=(optimizer, gradients, weights)), lambda: None)

        tf.distribute.get_replica_context().merge_call(apply, args=(all_finite, gradients))

    skipped = tf.cast(~all_finite, tf.int32)
    model.skipped_steps.assign(model.skipped_steps + skipped)
    model.skipped_in_a_row.assign((model.skipped_in_a_row + skipped) * skipped)
    model.non_finite_weight.assign(tf.argmin(tf.cast(finite, tf.int32), output_type=tf.int32))


def _apply(optimizer, gradients, weights):
    optimizer.apply(gradients, weights)


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends `fit` with an error after ten skipped steps in a row, naming the layer whose gradient was not finite."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if int(self.model.skipped_in_a_row.numpy()) < LIMIT:
            return
        weight = self.model.trainable_weights[int(self.model.non_finite_weight.numpy())]
        self.model.skipped_in_a_row.assign(0)
        raise FloatingPointError(
            f"Training stopped: {LIMIT} steps in a row had a gradient that is not finite, first in the weight "
            f"'{weight.path}'. No weight was changed by them. A lower learning rate, `clipnorm` in the optimizer, or data of "
            "a smaller range usually help."
        )

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._before = int(self.model.skipped_steps.numpy())

    def on_train_end(self, logs: dict | None = None) -> None:
        skipped = int(self.model.skipped_steps.numpy()) - self._before
        if skipped:
            plural = "s" if skipped > 1 else ""
            warnings.warn(f"{skipped} training step{plural} with a non-finite gradient changed no weight.", stacklevel=2)
