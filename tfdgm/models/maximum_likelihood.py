import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm._keras_compat import IsBuilt
from tfdgm.arguments import check_whole
from tfdgm.columns import column_names
from tfdgm.distributions.noise import seeds_of_places
from tfdgm.distributions.some_rows import some_rows
from tfdgm.layers import first_noise_row, noise_from_row
from tfdgm.models import batch_sources, batches
from tfdgm.models.batch_sources import as_batch
from tfdgm.models.parts import layers_and_variables
from tfdgm.non_finite import NonFinite, NonFiniteScoresWarning
from tfdgm.traced import TracedOnce
from tfdgm.training import StopOnNonFinite, computing_in, guarded_update, replica_id, total


class MaximumLikelihood(IsBuilt, TracedOnce, keras.Model):
    """A Keras model that learns the weights of a distribution: what `DensityModel` is to Keras.

    The loss is the mean negative log-likelihood in nats; a negative one is no error, for a density may exceed 1. Batches are
    dicts: "x" [n, *event_shape], "condition" for models that take one, "known" where entries may be missing, "weight" [n]. With
    weights w the loss is that of Keras, sum_i w_i nll_i / n: weights of mean 1 make it the weighted mean in nats.
    """

    #: Whether each x_i is an affine function of z_i, given the dimensions before it: over a single one, a Gaussian.
    is_affine = False

    def __init__(self, *, dtype: str | keras.DTypePolicy | None = None, name: str | None = None):
        policy = keras.dtype_policies.get(dtype)
        super().__init__(dtype=policy.variable_dtype, name=name)
        # A mixed policy is one for training steps: scores and samples, of which step = call is asked, are in full precision.
        self._training_policy = None if policy.compute_dtype == policy.variable_dtype else policy
        #: Whether `log_prob`, `sample` and training steps compile with XLA. Exported functions never do. What XLA compiled
        #: stays until the process ends (TensorFlow 2.21): some 45 MB and 380 memory maps a model.
        self.use_xla = True

    def _track(self, distribution, seed):
        """Takes a distribution and its weights; `seed` is that of the noise of training steps."""
        self.distribution, self._noise_seed = distribution, seed
        self._parts = layers_and_variables(distribution)
        counter = {"shape": (), "initializer": "zeros", "dtype": "int32", "trainable": False}
        counter["aggregation"] = "only_first_replica"  # All replicas count the same.
        self.adapted = self.add_weight(name="adapted", **counter)
        self.skipped_steps = self.add_weight(name="skipped_steps", **counter)
        self.skipped_in_a_row = self.add_weight(name="skipped_in_a_row", **counter)
        self.non_finite_weight = self.add_weight(name="non_finite_weight", **counter)
        self._noise_step = self.add_weight(name="noise_step", **counter)
        self._loss_metric = keras.metrics.Mean(name="loss", dtype=self.variable_dtype)
        #: Names of the columns of x and of the condition in the training data, where it was a DataFrame: others are put in order.
        self.column_names = self.condition_names = None
        #: Names of the classes, where the condition is one-hot and they are known.
        self.class_names = None
        # For tf.train.Checkpoint, which does not see layers that Keras layers hold in lists (Keras 3.15).
        self._all_weights = tf.Module()
        self._all_weights.values = {f"{i:04d}": weight.value for i, weight in enumerate(self.weights)}
        self.built = True

    def call(
        self, x: tf.Tensor, condition: tf.Tensor | None = None, known: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """log p(x) [n] of one batch [n, *event_shape]; what `predict`, training and the signatures use."""
        if self.distribution.kind != "estimate" or not training:
            return self.distribution.log_prob_of_rows(x, condition, known=known)
        step = tf.convert_to_tensor(self._noise_step)
        self._noise_step.assign(step + 1)
        # Of different steps, replicas and seeds; the rows of two seeds are 2^20 rows apart.
        first_row = first_noise_row() + self._noise_seed * 2**20 % 2**31
        return self.distribution.log_prob_of_seeds(x, seeds_of_places(first_row, tf.shape(x)[0], step), condition, known)

    def compile(self, optimizer: str | dict | keras.optimizers.Optimizer = "adam", **kwargs) -> None:
        """Keras's `compile`; the loss is built in."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(f"The loss is built in: the mean negative log-likelihood. Leave `{name}` out of compile().")
        # Keras's "auto" leaves XLA out on CPUs, where it halves our step. XLA cannot compile what crosses replicas.
        one_replica = self.distribute_strategy.num_replicas_in_sync == 1
        kwargs.setdefault("jit_compile", self.use_xla and one_replica and not kwargs.get("run_eagerly", False))
        optimizer = keras.optimizers.get(optimizer)
        half = self._training_policy is not None and self._training_policy.compute_dtype == "float16"
        if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # Or small gradients become 0.
        super().compile(optimizer=optimizer, **kwargs)
        # Now, so that tf.train.Checkpoint finds the optimizer's state, and the training step is not traced twice.
        if self.trainable_variables and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if not one_replica and getattr(self.optimizer, "gradient_accumulation_steps", None):
            raise ValueError(
                "Keras (3.15) cannot accumulate gradients on several replicas. Leave gradient_accumulation_steps out, or train "
                f"on one. Received: gradient_accumulation_steps={self.optimizer.gradient_accumulation_steps} with "
                f"{self.distribute_strategy.num_replicas_in_sync} replicas"
            )

    def compile_from_config(self, config: dict) -> None:
        """Keras calls this when it loads a .keras file, so that the optimizer's state comes back too."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(
        self,
        x: Any,
        condition: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        validation_data: Any = None,
        callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Keras's `fit`. x: an array [n, *event_shape], a dict of "x", "condition", "known" and "weight", or batches (a tf.data,
        a `keras.utils.PyDataset`, a generator) of x, of (x, condition), of (x, condition, weight) with None for a condition that
        the model does not take, or of such dicts.

        `sample_weight` [n]: how much each row counts, not negative. The loss is Keras's, sum_i w_i nll_i over the number of rows,
        in each batch: with weights of mean 1 it is the weighted mean in nats, with others so many times that.
        `validation_data`: as x, or (x, condition), or (x, condition, weight). What depends on data (standardisation, ActNorm, a
        mixture's first components) is set from the training data before the first step, once. The progress bar shows the mean
        negative log-likelihood in nats. A step with a non-finite gradient changes no weight and is counted in `skipped_steps`;
        ten in a row stop with an error.

        Raises:
          ValueError: for data that `log_prob` refuses, no rows, and arguments of Keras that have no meaning here.
          FloatingPointError: after ten steps in a row with a gradient that is not finite.
        """
        batches.refuse(kwargs, "y", "class_weight")
        to_adapt = x
        if isinstance(x, Iterator) and not int(self.adapted.numpy()):
            to_adapt, x = batch_sources.peeked(x)
        shuffle = kwargs.pop("shuffle", True)
        data = batches.training_data(self, x, condition, sample_weight, shuffle=shuffle)
        if validation_split := kwargs.pop("validation_split", None):
            data, validation_data = batches.split_rows(data, validation_split)
        elif validation_data is not None:
            given = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            validation_data = batches.training_data(self, *given, name="validation_data")
        if not self.trainable_weights:
            raise ValueError("There is nothing to train: the model holds no trainable variables.")
        if not int(self.adapted.numpy()):
            self._remember_columns(x, condition)
            self._adapt(data if to_adapt is x else batches.training_data(self, to_adapt))
        batch_size = kwargs.pop("batch_size", None)
        if validation_data is not None:
            validation_data = batches.batches(validation_data, kwargs.pop("validation_batch_size", None) or batch_size)
        if not isinstance(data, tf.data.Dataset):
            data = batches.full_batches(data, batch_size, shuffle)
        kwargs["shuffle"] = False  # Done above, or by the tf.data.
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        if isinstance(x, keras.utils.PyDataset):  # Of which Keras sees a tf.data.
            epoch = {name: lambda *_, name=name: getattr(x, name)() for name in ("on_epoch_begin", "on_epoch_end")}
            callbacks.append(keras.callbacks.LambdaCallback(**epoch))
        with batches.readable_errors():
            return super().fit(data, validation_data=validation_data, callbacks=[StopOnNonFinite(), *callbacks], **kwargs)

    def evaluate(
        self,
        x: Any,
        condition: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        num_samples: int = 8,
        **kwargs,
    ) -> float | list | dict:
        """Keras's `evaluate`: the mean negative log-likelihood of x (as in `fit`), in nats; with weights, as in `fit`.

        Of a model whose `kind` is "estimate", the mean over `num_samples` draws of the noise for every row (`lower_bound`): an
        upper bound on the negative log-likelihood, but for the draws' error. During `fit`, validation takes one draw, the same
        in every epoch.

        Raises:
          ValueError: for data that `log_prob` refuses, and for no rows.
        """
        is_ours = "_use_cached_eval_dataset" not in kwargs
        if is_ours:  # Not from within fit, where the data is checked already.
            batches.refuse(kwargs, "y")
            check_whole(num_samples=num_samples)
            once = isinstance(x, Iterator)
            data = batches.training_data(self, x, condition, sample_weight)
            x = batches.batches(data, kwargs.pop("batch_size", None), kwargs.pop("steps", None))
            if self.distribution.kind == "estimate":
                # Noise goes by the number of a row: the rows that come again get other noise.
                each = x.flat_map(lambda batch: tf.data.Dataset.from_tensors(batch).repeat(num_samples))
                x = each if once else x.repeat(num_samples)
        with batches.readable_errors():
            result = super().evaluate(x, **kwargs)
        if not float(self._loss_metric.count.numpy()):
            raise ValueError("The tf.data is empty: expected at least one batch.")
        loss = float(self._loss_metric.result().numpy())
        if is_ours and not math.isfinite(loss):
            warnings.warn(
                f"The loss is {loss}: a row's log_prob is -inf or NaN. `predict` tells which.",
                NonFiniteScoresWarning,
                stacklevel=2,
            )
        return result

    def lower_bound(
        self, x: ArrayLike, condition: ArrayLike | None = None, *, num_samples: int = 8, first_row: int = 0
    ) -> tf.Tensor:
        """x [n, *event_shape] -> the mean over `num_samples` draws of the noise of log p(x + u), [n], nats.

        Of the kind "estimate": each is an unbiased estimate of a lower bound on log P(x), with noise of its own for every row,
        equal rows too, so that their mean over a data set has the standard error of independent numbers. Else, `log_prob`.

        Args:
          x, condition: as in `log_prob`.
          num_samples: draws a row.
          first_row: the number of x[0] in a data set that comes in parts.
        """
        check_whole(num_samples=num_samples)
        check_whole(0, first_row=first_row)
        if self.kind != "estimate":
            return self.log_prob(x, condition)
        x = self.check_x(x)
        if x.ndim != 1 + len(self.event_shape):
            raise ValueError(f"`x` must have shape [n, *{self.event_shape}]. Received: x.shape={x.shape}")
        condition, seeds = self.check_condition(condition, x.shape[:1]), evaluation_seeds(first_row, len(x), num_samples)
        return tf.reduce_mean([self.runner("log_prob_of_seeds", x, condition, s) for s in seeds], axis=0)

    def predict(self, x: Any, condition: ArrayLike | None = None, **kwargs) -> np.ndarray:
        """Keras's `predict`: log p(x) of each row of x (as in `fit`), a NumPy array [n], in nats. What it refuses, and its
        numbers, are those of `log_prob`. A `NonFiniteScoresWarning` counts scores that are -infinity or NaN."""
        data = batches.training_data(self, x, condition)
        data = batches.batches(data, kwargs.pop("batch_size", None), kwargs.pop("steps", None))
        with batches.readable_errors():
            scores = super().predict(data, **kwargs)
        found = NonFinite()
        found.add(scores)
        found.warn()
        return scores

    def adapt(self, x: Any, condition: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None) -> None:
        """Sets what depends on data from x (as in `fit`), as `fit` does before its first step. See `Distribution.adapt`."""
        data = batches.training_data(self, x, condition, sample_weight)
        self._remember_columns(x, condition)
        self._adapt(data)

    def _adapt(self, data):
        with batches.readable_errors():
            rows = some_rows(batches.for_adapting(data), 65536)
        event = self.distribution.event
        if self.is_affine and event.size == 1:
            warnings.warn(
                f"{type(self).__name__} over one dimension can only be a Gaussian, however many layers it has. MADE(levels=None) "
                "and GaussianMixture can be other densities.",
                stacklevel=3,
            )
        if not event.is_discrete:
            batches.warn_of_columns(rows["x"], event, self.column_names)
        self.distribution.adapt([rows])
        self.adapted.assign(1)

    def _remember_columns(self, x, condition):
        """Of what a model learns from first."""
        if not int(self.adapted.numpy()):
            if isinstance(x, Mapping):
                x, condition = x.get("x"), x.get("condition")
            self.column_names = self.column_names or column_names(x)
            self.condition_names = self.condition_names or column_names(condition)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        batch = as_batch(data)
        n, weight = tf.shape(batch["x"])[0], batch.pop("weight", None)
        with tf.GradientTape() as tape:
            # No replica may change within: the precision is that of the layers, which all replicas share.
            with noise_from_row(replica_id() * n), computing_in(self, self._training_policy):
                nll = -tf.reduce_sum(_weighted(self(**batch, training=True), weight))
            rows = total(tf.cast(n, nll.dtype))
            scaled = self.optimizer.scale_loss(nll / rows)
        weights = self.trainable_weights
        guarded_update(self, weights, tape.gradient(scaled, weights))
        return self._mean_loss(nll, rows)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        batch = as_batch(data)
        n, weight = tf.shape(batch["x"])[0], batch.pop("weight", None)
        if self.distribution.kind == "estimate":
            # The rows counted so far number these; those of other replicas come before or after.
            first_row = tf.cast(self._loss_metric.count, tf.int32) + replica_id() * n
            log_prob = self.distribution.log_prob_of_seeds(seeds=evaluation_seeds(first_row, n, 1)[0], **batch)
        else:
            log_prob = self(**batch, training=False)
        nll = -tf.reduce_sum(_weighted(log_prob, weight))
        return self._mean_loss(nll, total(tf.cast(n, nll.dtype)))

    def _mean_loss(self, nll, rows):
        """Adds a batch to the mean; `rows` are those of all replicas."""
        self._loss_metric.update_state(total(nll) / rows, sample_weight=rows)
        result = self._loss_metric.result()
        workers = isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return {"loss": result[None] if workers else result}  # Keras averages over workers along an axis (3.15).

    def predict_step(self, data: Any) -> tf.Tensor:
        batch = as_batch(data)
        batch.pop("weight", None)
        return self(**batch, training=False)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self._loss_metric]


def _weighted(log_prob, weight):
    """A row of weight 0 counts nothing, whatever its score."""
    return log_prob if weight is None else tf.math.multiply_no_nan(log_prob, tf.cast(weight, log_prob.dtype))


def evaluation_seeds(first_row: int | tf.Tensor, n: int | tf.Tensor, num_samples: int) -> list[tf.Tensor]:
    """Seeds int32 [n, 2] of each draw of the noise of rows `first_row` ... in an evaluation; training has streams from 0 on."""
    return [seeds_of_places(first_row, n, -2 - k) for k in range(num_samples)]
