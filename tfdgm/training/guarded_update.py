import keras
import tensorflow as tf
from keras import ops

LIMIT = 10


def guarded_update(model, weights, gradients):
    """Applies the gradients where all are finite; otherwise no weight changes and the step is counted as skipped.

    Sets `model.skipped_steps` (in all), `_skipped_in_a_row` and `_non_finite_weight` (the first weight concerned).
    """
    gradients = [tf.zeros_like(w) if g is None else tf.convert_to_tensor(g) for w, g in zip(weights, gradients, strict=True)]
    finite = tf.stack([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
    all_finite = tf.reduce_all(finite)
    ops.cond(all_finite, lambda: model.optimizer.apply(gradients, weights), lambda: None)
    skipped = tf.cast(~all_finite, tf.int32)
    model.skipped_steps.assign_add(skipped)
    model._skipped_in_a_row.assign((model._skipped_in_a_row + skipped) * skipped)
    model._non_finite_weight.assign(tf.argmin(tf.cast(finite, tf.int32), output_type=tf.int32))


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends `fit` with an error after ten skipped steps in a row, naming the layer whose gradient was not finite."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model._skipped_in_a_row) < LIMIT:
            return
        weight = self.model.trainable_weights[int(self.model._non_finite_weight)]
        self.model._skipped_in_a_row.assign(0)
        raise FloatingPointError(
            f"Training stopped: {LIMIT} steps in a row had a gradient that is not finite, first in the weight "
            f"'{weight.path}'. No weight was changed by them. A lower learning rate, `clipnorm` in the optimizer, or data of "
            "a smaller range usually help."
        )

    def on_train_end(self, logs=None):
        skipped = int(self.model.skipped_steps)
        if skipped:
            print(f"Note: {skipped} training steps had a non-finite gradient and were skipped.")
