import functools
import inspect
import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdgm import serving
from tfdgm.distributions import Distribution, Wrapped
from tfdgm.layers import first_noise_row, noise_from_row
from tfdgm.models import inputs
from tfdgm.training import StopOnNonFinite, guarded_update, num_replicas, replica_id, total

_CHUNK = 4096


class DensityModel(keras.Model):
    """A density over events of one shape, as a Keras model: `compile`, `fit`, `log_prob`, `sample`, `export`.

    The loss is built in: the mean negative log-likelihood in nats. A negative loss is no error: a density may exceed 1.
    For integer data under a flow (`levels=` with uniform dequantization), log_prob is a lower bound (see `is_bound`).

        model = tfdgm.models.MAF(event_shape=(43,))
        model.compile(optimizer="adam")
        model.fit(x, validation_data=x_valid, epochs=10)
        model.log_prob(x)            # [n], nats
        model.sample(1000, seed=1)   # [1000, 43]
        model.export("my_maf/1")     # a SavedModel; tfdgm.load("my_maf") gives the model back

    Subclasses build a `tfdgm.distributions.Distribution` in `__init__` and hand it to `_set_distribution`; their constructor
    arguments are plain values and are the config. `DensityModel.from_distribution` wraps any `tfd.Distribution`.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__.split(".")[0])(cls)

    def __new__(cls, *args, **kwargs):
        # keras.Model drops constructor arguments; Layer records them for get_config. Defaults are recorded too, so that an
        # artifact keeps its meaning when a default changes.
        instance = keras.layers.Layer.__new__(cls)
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)
        bound.apply_defaults()
        instance.__dict__["_arguments"] = {k: inputs.plain(v) for k, v in list(bound.arguments.items())[1:]}
        return instance

    def __init__(self, *, dtype=None, name=None):
        super().__init__(dtype=dtype, name=name)
        #: Whether `log_prob` and `sample` compile with XLA. Exported functions never do.
        self.use_xla = True

    def _set_distribution(self, distribution, seed=0):
        """To be called at the end of a subclass's `__init__`."""
        if not isinstance(distribution, Distribution):
            raise TypeError(f"Expected a tfdgm.distributions.Distribution. Received: {type(distribution).__name__}")
        self.distribution = distribution
        self.event_shape = tuple(distribution.event_shape.as_list())
        self.condition_shape = distribution.condition_shape
        self.levels = distribution.levels
        self._parts = inputs.layers_and_variables(distribution)
        self._noise_seed = seed
        counter = {"shape": (), "initializer": "zeros", "dtype": "int32", "trainable": False}
        counter["aggregation"] = "only_first_replica"  # All replicas count the same.
        self.adapted = self.add_weight(name="adapted", **counter)
        self.skipped_steps = self.add_weight(name="skipped_steps", **counter)
        self._skipped_in_a_row = self.add_weight(name="skipped_in_a_row", **counter)
        self._non_finite_weight = self.add_weight(name="non_finite_weight", **counter)
        self._noise_step = self.add_weight(name="noise_step", **counter)
        self._loss_metric = keras.metrics.Mean(name="loss")
        self._functions = {}
        self.built = True

    @classmethod
    def from_distribution(cls, distribution):
        """Wraps any `tfd.Distribution` (batch shape []), stock TFP ones included, so that it can `fit` and `export`.

        Keras layers and `tf.Variable`s held as attributes anywhere inside are found and trained; what hides in a lambda is not.
        Fact to know: TFP turns parameters into tensors when a distribution is built from Keras weights, and such tensors do not
        train; give it `tf.Variable`s or layers.
        """
        if not isinstance(distribution, tfd.Distribution):
            raise TypeError(f"Expected a tfd.Distribution. Received: {type(distribution).__name__}")
        model = _FromDistribution(name="from_distribution")
        ours = distribution if isinstance(distribution, Distribution) else Wrapped(distribution)
        model.use_xla = ours is distribution
        model._set_distribution(ours)
        return model

    # Evaluation

    def log_prob(self, x, condition=None):
        """x [*batch, *event_shape] -> log p(x) [*batch], nats; of x as given, whatever preprocessing the model holds.

        Under a `condition` [*batch, *condition_shape], log p(x|c). For a bound (`is_bound`), a lower bound on log P(x).
        """
        if not inputs.is_eager(x, condition):
            return self.distribution.log_prob(x, **({} if condition is None else {"condition": condition}))
        checked = self._check_x(x)
        batch = checked.shape[: checked.ndim - len(self.event_shape)]
        # Of a tensor the tensor itself, so that gradients flow through.
        rows = tf.reshape(tf.cast(x, checked.dtype) if tf.is_tensor(x) else checked, (-1, *self.event_shape))
        return tf.reshape(self._in_chunks("log_prob", rows, self._check_condition(condition, batch)), batch)

    def bits_per_dim(self, x, condition=None):
        """-log_prob(x) / (D log 2): x [*batch, *event_shape] -> [*batch]. Of integers for models with `levels`."""
        return -self.log_prob(x, condition) / (math.prod(self.event_shape) * math.log(2))

    def sample(self, n=1, *, seed=None, condition=None):
        """n samples, [n, *event_shape]. The same seed gives the same sample, and more samples begin with the same ones.

        Sample i is what the SavedModel's `sample` signature returns for the seed (seed, i).
        """
        if int(n) != n or n < 0:
            raise ValueError(f"`n` must be a non-negative integer. Received: n={n}")
        seed = np.random.SeedSequence().entropy % 2**31 if seed is None else seed
        seeds = np.stack([np.full(n, seed), np.arange(n)], axis=1).astype(np.int32)
        return self._in_chunks("sample", seeds, self._check_condition(condition, (n,)))

    @property
    def is_bound(self):
        """Whether `log_prob` is a lower bound (dequantization) and not exact."""
        return self.distribution.is_bound

    def call(self, x, condition=None, training=False):
        """log p(x) [n] of one batch [n, *event_shape]; what `predict`, training and the signatures use."""
        noise = None
        if self.is_bound and training:
            step = tf.convert_to_tensor(self._noise_step)
            noise = self.distribution.training_noise(x, self._noise_seed, step, first_noise_row())
            self._noise_step.assign(step + 1)
        return self.distribution.log_prob_of_rows(x, condition, noise)

    def _in_chunks(self, name, rows, condition):
        """ "log_prob" of rows, or "sample" from seeds, compiled. Chunks are padded to a power of two, because XLA compiles anew
        for every size."""
        n = len(rows)
        if not n:
            shape, dtype = ((0,), self.compute_dtype) if name == "log_prob" else ((0, *self.event_shape), self.distribution.dtype)
            return tf.zeros(shape, dtype)
        if n > _CHUNK:
            parts = [slice(start, start + _CHUNK) for start in range(0, n, _CHUNK)]
            given = [None if condition is None else condition[part] for part in parts]
            return tf.concat([self._in_chunks(name, rows[part], c) for part, c in zip(parts, given, strict=True)], axis=0)
        if not self._functions:
            distribution, function = self.distribution, functools.partial(tf.function, autograph=False)
            self._functions = {
                "log_prob": function(distribution.log_prob_of_rows, jit_compile=self.use_xla),
                "noise": function(distribution.draw_noise),
                "sample": function(distribution.from_noise, jit_compile=self.use_xla),
            }
        # One gather pads, one cuts off: slices and concatenations took a fifth of a score's time.
        padding = np.minimum(np.arange(max(16, 2 ** (n - 1).bit_length())), n - 1)
        rows, condition = (None if given is None else tf.gather(given, padding) for given in (rows, condition))
        if name == "sample":
            rows = self._functions["noise"](rows)
        return tf.gather(self._functions[name](rows, condition), np.arange(n))

    # Training

    def compile(self, optimizer="adam", **kwargs):
        """Keras's `compile`; the loss is built in."""
        if kwargs.get("loss") is not None:
            raise ValueError("The loss is built in: the mean negative log-likelihood. Leave `loss` out of compile().")
        # Keras's "auto" leaves XLA out on CPUs, where it halves our step. XLA cannot compile what crosses replicas.
        one_replica = self.distribute_strategy.num_replicas_in_sync == 1
        kwargs.setdefault("jit_compile", self.use_xla and one_replica and not kwargs.get("run_eagerly", False))
        super().compile(optimizer=optimizer, **kwargs)

    def compile_from_config(self, config):
        """Keras calls this when it loads a .keras file, so that the optimizer's state comes back too."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x, condition=None, *, validation_data=None, callbacks=None, **kwargs):
        """Keras's `fit`. x: an array [n, *event_shape], or a tf.data of batches of x or of (x, condition).

        `validation_data`: an array, (x, condition), or a tf.data. What depends on data (standardisation, ActNorm, a mixture's
        first components) is set from the training data before the first step, once. The progress bar shows the mean negative
        log-likelihood in nats. A step with a non-finite gradient changes no weight and is counted in `skipped_steps`; ten in a
        row stop with an error.
        """
        data = inputs.training_data(self, x, condition)
        if validation_split := kwargs.pop("validation_split", None):
            data, validation_data = inputs.split_rows(data, validation_split)
        elif validation_data is not None:
            pair = validation_data if isinstance(validation_data, tuple) else (validation_data, None)
            validation_data = inputs.training_data(self, *pair, name="validation_data")
        if not int(self.adapted.numpy()):
            self.adapt(data)
        if not isinstance(data, tf.data.Dataset):
            data = inputs.full_batches(data, kwargs.pop("batch_size", None) or 32, kwargs.pop("shuffle", True))
        kwargs["shuffle"] = False  # Done above, or by the tf.data.
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        with inputs.readable_errors():
            return super().fit(data, validation_data=validation_data, callbacks=[StopOnNonFinite(), *callbacks], **kwargs)

    def evaluate(self, x, condition=None, **kwargs):
        """Keras's `evaluate`: the mean negative log-likelihood of x (array or tf.data), in nats."""
        if "_use_cached_eval_dataset" not in kwargs:  # Not from within fit, where the data is checked already.
            data = inputs.training_data(self, x, condition)
            x, condition = (data, None) if isinstance(data, tf.data.Dataset) else data
        else:
            condition = kwargs.pop("y", condition)
        with inputs.readable_errors():
            result = super().evaluate(x, condition, **kwargs)
        if not float(self._loss_metric.count.numpy()):
            raise ValueError("The tf.data is empty: expected at least one batch.")
        return result

    def adapt(self, x, condition=None):
        """Sets what depends on data from up to 65,536 rows of x, as `fit` does before its first step."""
        data = x if isinstance(x, tuple) else inputs.training_data(self, x, condition)
        with inputs.readable_errors():
            x, condition = inputs.some_rows(data, 65536)
        self.distribution.adapt(tf.convert_to_tensor(x), condition)
        self.adapted.assign(1)

    def train_step(self, data):
        x, condition = inputs.unpack(data)
        n = tf.shape(x)[0]
        with tf.GradientTape() as tape, noise_from_row(replica_id() * n):
            nll = -tf.reduce_sum(self(x, condition=condition, training=True))
            rows = total(tf.cast(n, nll.dtype))
            scaled = self.optimizer.scale_loss(nll / rows)
        weights = self.trainable_weights
        guarded_update(self, weights, tape.gradient(scaled, weights))
        return self._mean_loss(nll, rows)

    def test_step(self, data):
        x, condition = inputs.unpack(data)
        nll = -tf.reduce_sum(self(x, condition=condition, training=False))
        return self._mean_loss(nll, total(tf.cast(tf.shape(x)[0], nll.dtype)))

    def _mean_loss(self, nll, rows):
        """Adds a batch to the mean; `rows` are those of all replicas."""
        self._loss_metric.update_state(total(nll) / rows, sample_weight=rows)
        result = self._loss_metric.result()
        return {"loss": result if num_replicas() == 1 else result[None]}  # Keras averages over workers along an axis.

    def predict_step(self, data):
        x, condition = inputs.unpack(data)
        return self(x, condition=condition, training=False)

    @property
    def metrics(self):
        return [self._loss_metric]

    # Artifacts

    def export(self, path, **kwargs):
        """Writes a SavedModel to `path` ("dir/1": TF Serving's version folder), to be served or loaded with `tfdgm.load`.

        Signatures: `serving_default` = `log_prob`, `sample`, and `encode`, `decode` for flows, `complete` for autoregressive
        models. It runs without tfdgm. Written aside first: an existing version stays whole until the new one is.
        """
        serving.export(self, path, **kwargs)

    def restore(self, path):
        """Sets the weights from a SavedModel that a model of the same kind exported."""
        serving.restore(self, path)

    def get_config(self):
        return dict(self._arguments)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _check_x(self, x):
        return inputs.check_x(x, self.event_shape, self.levels, self.compute_dtype)

    def _check_condition(self, condition, batch):
        return inputs.check_condition(condition, self.condition_shape, batch, self.compute_dtype)


class _FromDistribution(DensityModel):
    """The model of `DensityModel.from_distribution`; its distribution is no plain value, so it has no config."""

    def get_config(self):
        raise NotImplementedError(
            "A model made by from_distribution has no config. To load its weights, build the distribution again, then "
            "`DensityModel.from_distribution(distribution).restore(path)`."
        )
