import inspect
import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdgm import serving
from tfdgm.arguments import check_types, check_whole
from tfdgm.distributions import Distribution, Wrapped
from tfdgm.distributions.noise import seeds_of_places
from tfdgm.layers import first_noise_row, noise_from_row
from tfdgm.models import completion, inputs
from tfdgm.models.runner import Runner
from tfdgm.training import StopOnNonFinite, computing_in, guarded_update, replica_id, total

_NAMES = ("column_names", "condition_names")  # In the config, once training data gave them.


class DensityModel(keras.Model):
    """A density over events of one shape, as a Keras model: `compile`, `fit`, `log_prob`, `sample`, `export`.

    The loss is built in: the mean negative log-likelihood in nats. A negative loss is no error: a density may exceed 1.
    For integer data under a flow (`levels=` with uniform dequantization), log_prob is an estimate (see `kind`).

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
        inputs.check_arguments(instance._arguments)
        check_types(cls.__init__, (None, *args), kwargs)
        return instance

    def __init__(self, *, dtype=None, name=None):
        policy = keras.dtype_policies.get(dtype)
        super().__init__(dtype=policy.variable_dtype, name=name)
        # A mixed policy is one for training steps: scores and samples, of which step = call is asked, are in full precision.
        self._training_policy = None if policy.compute_dtype == policy.variable_dtype else policy
        #: Whether `log_prob` and `sample` compile with XLA. Exported functions never do.
        self.use_xla = True
        #: Calls the distribution's functions on any number of rows.
        self.runner = Runner(self)

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
        self._loss_metric = keras.metrics.Mean(name="loss", dtype=self.variable_dtype)
        #: Names of the columns of x and of the condition in the training data, where it was a DataFrame: others are put in order.
        self.column_names = self.condition_names = None
        # For tf.train.Checkpoint, which does not see layers that Keras layers hold in lists (Keras 3.15).
        self._all_weights = tf.Module()
        self._all_weights.values = {f"{i:04d}": weight.value for i, weight in enumerate(self.weights)}
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
        ours = distribution if isinstance(distribution, Distribution) else Wrapped(distribution)
        inputs.build_layers(distribution)
        dtype = ours.dtype.name if ours.dtype.is_floating else None
        model = _FromDistribution(dtype=dtype, name="from_distribution")
        model.use_xla = ours is distribution
        model._set_distribution(ours)
        return model

    # Evaluation

    def log_prob(self, x, condition=None, *, num_samples=1):
        """x [*batch, *event_shape] -> log p(x) [*batch], nats; of x as given, whatever preprocessing the model holds.

        Under a `condition` [*batch, *condition_shape], log p(x|c). -infinity where float32 ends; x that the model does not take
        is an error here and in `predict` and `evaluate`, and -infinity inside tf.functions and in `distribution`.

        Of a model whose `kind` is "estimate" (flows with `levels`), log p(x + u) for one u, which is a fixed function of x. Its
        mean over u is a lower bound on log P(x), a single one may lie above. With `num_samples` = K, the log of the mean of K
        densities (Burda et al. 2016, arXiv:1509.00519, eq. 8): closer to log P(x), at K times the price. Exact models need one.
        """
        check_whole(num_samples=num_samples)
        if not inputs.is_eager(x, condition):
            given = {} if condition is None else {"condition": condition}
            return self.distribution.log_prob(x, num_samples=num_samples, **given)
        checked = self.check_x(x)
        batch = checked.shape[: checked.ndim - len(self.event_shape)]
        # Of a tensor the tensor itself, so that gradients flow through.
        rows = tf.reshape(tf.cast(x, checked.dtype) if tf.is_tensor(x) else checked, (-1, *self.event_shape))
        condition = self.check_condition(condition, batch)
        if num_samples == 1 or self.kind != "estimate":
            return tf.reshape(self.runner("log_prob", rows, condition), batch)
        seeds = self.distribution.seeds_of_draws(rows, num_samples)
        draws = [self.runner("log_prob_of_seeds", rows, condition, seeds[:, k]) for k in range(num_samples)]
        return tf.reshape(tf.reduce_logsumexp(draws, axis=0) - math.log(num_samples), batch)

    def lower_bound(self, x, condition=None, *, num_samples=8, first_row=0):
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
        condition, seeds = self.check_condition(condition, x.shape[:1]), _evaluation_seeds(first_row, len(x), num_samples)
        return tf.reduce_mean([self.runner("log_prob_of_seeds", x, condition, s) for s in seeds], axis=0)

    def bits_per_dim(self, x, condition=None, *, num_samples=1):
        """-log_prob(x) / (D log 2): x [*batch, *event_shape] -> [*batch]. Of integers for models with `levels`."""
        return -self.log_prob(x, condition, num_samples=num_samples) / (math.prod(self.event_shape) * math.log(2))

    def sample(self, n=1, *, seed=None, condition=None):
        """n samples, [n, *event_shape]. The same seed gives the same sample, and more samples begin with the same ones.

        Sample i is what the SavedModel's `sample` signature returns for the seed (seed, i).
        """
        check_whole(0, n=n)
        return self.runner("sample", self._seeds(seed, n), self.check_condition(condition, (n,)))

    def complete(self, x, known, seed=None, *, condition=None, num_candidates=None):
        """x [*batch, *event_shape] with the positions drawn where `known` is 0; of autoregressive models.

        Row i uses the noise of sample i with this seed, and is what the SavedModel's `complete` signature returns for (seed, i).
        Unknown positions are drawn one after the other from p(x_t | x_<t). Where all known positions of a row come before its
        unknown ones in the network's order (the upper rows of an image), that is an exact draw from p(unknown | known).
        Otherwise a draw does not look at the known positions that come later, and a warning says so.

        With `num_candidates` = K, K completions of a row are drawn in this way, and one of them is chosen with probability
        proportional to its importance weight (sampling importance resampling: Rubin 1988; the weights are those of likelihood
        weighting: Fung & Chang 1990; Shachter & Peot 1990):

            q(unknown) = prod_(t unknown) p(x_t | x_<t),  w = p(x) / q(unknown) = prod_(t known) p(x_t | x_<t)

        This tends to a draw from p(unknown | known) as K grows, with an error of order var(w) / (K mean(w)^2), and costs K times
        as much. Where much is known late, var(w) is enormous: the candidates say little about what is known, the best of them
        outweighs the rest, and what is chosen is the best of K rather than a draw. A warning says so where the effective number
        of candidates, (sum w)^2 / sum w^2, is below 2.

        Args:
          x: the known values; at unknown positions any that the model takes.
          known: 1 or True where x is kept, 0 or False where it is drawn; of x's shape, or of event_shape for all rows.
          seed: an integer; the same seed gives the same completion.
          condition: as in `sample`.
          num_candidates: K, or None for a single draw.

        Raises:
          ValueError: for another shape of x or `known`, values the model does not take, and a model that is not autoregressive.
        """
        self._check_can("complete", "an autoregressive model over x itself (MADE of integers, PixelCNN, ...)")
        return completion.complete(self, x, known, self._seeds, seed, condition, num_candidates)

    def encode(self, x, condition=None):
        """Of flows: x [*batch, *event_shape] -> (z [*batch, *latent_shape], log |det dz/dx| [*batch], nats), with z = f^-1(x). Of
        integers, z of x + u with the u of `log_prob`.

        Raises:
          ValueError: for a model that is no flow, and what `log_prob` refuses.
        """
        self._check_can("encode", "a flow (MAF, RealNVP, ...)")
        x = self.check_x(x)
        batch = x.shape[: x.ndim - len(self.event_shape)]
        z, log_det = self.runner("to_base", x.reshape((-1, *self.event_shape)), self.check_condition(condition, batch))
        return tf.reshape(z, (*batch, *z.shape[1:])), tf.reshape(log_det, batch)

    def decode(self, z, condition=None):
        """Of flows: z [*batch, *latent_shape] -> x [*batch, *event_shape]; the inverse of `encode`.

        Raises:
          ValueError: for a model that is no flow, another shape of z, and numbers that are not finite.
        """
        self._check_can("decode", "a flow (MAF, RealNVP, ...)")
        shape = self.distribution.latent_shape
        z = inputs.check_x(z, shape, None, self.compute_dtype, name="z")
        batch = z.shape[: z.ndim - len(shape)]
        x = self.runner("from_base", z.reshape((-1, *shape)), self.check_condition(condition, batch))
        return tf.reshape(x, (*batch, *self.event_shape))

    def _check_can(self, name, what):
        if name not in self.distribution.functions():
            received = f"{type(self).__name__}, whose distribution is {type(self.distribution).__name__}"
            raise ValueError(f"`{name}` needs {what}. Received: {received}")

    @property
    def kind(self):
        """What `log_prob` is: "exact"; "lower bound", on log p(x); or "estimate", one random draw whose mean is a lower bound."""
        return self.distribution.kind

    @property
    def is_bound(self):
        """Whether `log_prob` is a bound or an estimate of one, and not exact."""
        return self.kind != "exact"

    def call(self, x, condition=None, training=False):
        """log p(x) [n] of one batch [n, *event_shape]; what `predict`, training and the signatures use."""
        if self.kind != "estimate" or not training:
            return self.distribution.log_prob_of_rows(x, condition)
        step = tf.convert_to_tensor(self._noise_step)
        self._noise_step.assign(step + 1)
        # Of different steps, replicas and seeds; the rows of two seeds are 2^20 rows apart.
        first_row = first_noise_row() + self._noise_seed * 2**20 % 2**31
        return self.distribution.log_prob_of_seeds(x, seeds_of_places(first_row, tf.shape(x)[0], step), condition)

    def _seeds(self, seed, n):
        """(seed, i) of row i, int32 [n, 2]; without a seed, another one each time."""
        seed = np.random.SeedSequence().entropy % 2**31 if seed is None else seed
        check_whole(-(2**31), 2**31 - 1, seed=seed)
        return np.stack([np.full(n, seed), np.arange(n)], axis=1).astype(np.int32)

    # Training

    def compile(self, optimizer="adam", **kwargs):
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

    def compile_from_config(self, config):
        """Keras calls this when it loads a .keras file, so that the optimizer's state comes back too."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(self, x, condition=None, *, validation_data=None, callbacks=None, **kwargs):
        """Keras's `fit`. x: an array [n, *event_shape], or a tf.data of batches of x or of (x, condition).

        `validation_data`: an array, (x, condition), or a tf.data. What depends on data (standardisation, ActNorm, a mixture's
        first components) is set from the training data before the first step, once. The progress bar shows the mean negative
        log-likelihood in nats. A step with a non-finite gradient changes no weight and is counted in `skipped_steps`; ten in a
        row stop with an error.
        """
        inputs.refuse(kwargs, "y", "sample_weight", "class_weight")
        data = inputs.training_data(self, x, condition)
        if validation_split := kwargs.pop("validation_split", None):
            data, validation_data = inputs.split_rows(data, validation_split)
        elif validation_data is not None:
            pair = validation_data if isinstance(validation_data, tuple) else (validation_data, None)
            validation_data = inputs.training_data(self, *pair, name="validation_data")
        if not self.trainable_weights:
            raise ValueError("There is nothing to train: the model holds no trainable variables.")
        if not int(self.adapted.numpy()):
            self._remember_columns(x, condition)
            self.adapt(data)
        batch_size = kwargs.pop("batch_size", None)
        if validation_data is not None:
            validation_data = inputs.batches(validation_data, kwargs.pop("validation_batch_size", None) or batch_size)
        if not isinstance(data, tf.data.Dataset):
            data = inputs.full_batches(data, batch_size, kwargs.pop("shuffle", True))
        kwargs["shuffle"] = False  # Done above, or by the tf.data.
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        with inputs.readable_errors():
            return super().fit(data, validation_data=validation_data, callbacks=[StopOnNonFinite(), *callbacks], **kwargs)

    def evaluate(self, x, condition=None, *, num_samples=8, **kwargs):
        """Keras's `evaluate`: the mean negative log-likelihood of x (array or tf.data), in nats.

        Of a model whose `kind` is "estimate", the mean over `num_samples` draws of the noise for every row (`lower_bound`): an
        upper bound on the negative log-likelihood, but for the draws' error. During `fit`, validation takes one draw, the same
        in every epoch.
        """
        if "_use_cached_eval_dataset" not in kwargs:  # Not from within fit, where the data is checked already.
            inputs.refuse(kwargs, "y", "sample_weight")
            check_whole(num_samples=num_samples)
            data = inputs.training_data(self, x, condition)
            x = inputs.batches(data, kwargs.pop("batch_size", None), kwargs.pop("steps", None))
            if self.kind == "estimate":
                x = x.repeat(num_samples)  # Noise goes by the number of a row: the rows that come again get other noise.
        with inputs.readable_errors():
            result = super().evaluate(x, **kwargs)
        if not float(self._loss_metric.count.numpy()):
            raise ValueError("The tf.data is empty: expected at least one batch.")
        return result

    def adapt(self, x, condition=None):
        """Sets what depends on data from up to 65,536 rows of x, as `fit` does before its first step."""
        data = x if isinstance(x, tuple) else inputs.training_data(self, x, condition)
        self._remember_columns(x, condition)
        with inputs.readable_errors():
            x, condition = inputs.some_rows(data, 65536)
        if self.levels is None:
            inputs.warn_of_constants(x)
        self.distribution.adapt(tf.convert_to_tensor(x), condition)
        self.adapted.assign(1)

    def predict(self, x, condition=None, **kwargs):
        """Keras's `predict`: log p(x) of each row of x (array, or tf.data of x or (x, condition)), a NumPy array [n], in nats.
        What it refuses, and its numbers, are those of `log_prob`."""
        data = inputs.training_data(self, x, condition)
        with inputs.readable_errors():
            return super().predict(inputs.batches(data, kwargs.pop("batch_size", None), kwargs.pop("steps", None)), **kwargs)

    def train_step(self, data):
        x, condition = inputs.unpack(data)
        n = tf.shape(x)[0]
        rows = total(tf.cast(n, self.compute_dtype))
        with tf.GradientTape() as tape:
            # No replica may change within: the precision is that of the layers, which all replicas share.
            with noise_from_row(replica_id() * n), computing_in(self, self._training_policy):
                nll = -tf.reduce_sum(self(x, condition=condition, training=True))
            scaled = self.optimizer.scale_loss(nll / rows)
        weights = self.trainable_weights
        guarded_update(self, weights, tape.gradient(scaled, weights))
        return self._mean_loss(nll, rows)

    def test_step(self, data):
        x, condition = inputs.unpack(data)
        n = tf.shape(x)[0]
        if self.kind == "estimate":
            # The rows counted so far number these; those of other replicas come before or after.
            first_row = tf.cast(self._loss_metric.count, tf.int32) + replica_id() * n
            log_prob = self.distribution.log_prob_of_seeds(x, _evaluation_seeds(first_row, n, 1)[0], condition)
        else:
            log_prob = self(x, condition=condition, training=False)
        nll = -tf.reduce_sum(log_prob)
        return self._mean_loss(nll, total(tf.cast(tf.shape(x)[0], nll.dtype)))

    def _mean_loss(self, nll, rows):
        """Adds a batch to the mean; `rows` are those of all replicas."""
        self._loss_metric.update_state(total(nll) / rows, sample_weight=rows)
        result = self._loss_metric.result()
        workers = isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return {"loss": result[None] if workers else result}  # Keras averages over workers along an axis (3.15).

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
        names = {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
        return {**self._arguments, **names}

    @classmethod
    def from_config(cls, config):
        model = cls(**{name: value for name, value in config.items() if name not in _NAMES})
        model.column_names, model.condition_names = (config.get(name) and tuple(config[name]) for name in _NAMES)
        return model

    def _remember_columns(self, x, condition):
        """Of what a model learns from first."""
        if not int(self.adapted.numpy()):
            self.column_names = self.column_names or inputs.column_names(x)
            self.condition_names = self.condition_names or inputs.column_names(condition)

    def check_x(self, x):
        """x [*batch, *event_shape] as an array of the model's dtype, columns in order; a ValueError for what it does not take."""
        x = inputs.in_order(x, self.column_names, "x")
        return inputs.check_x(x, self.event_shape, self.levels, self.compute_dtype)

    def check_condition(self, condition, batch):
        """A condition [*batch, *condition_shape], or one for all, as rows; None where the model takes none. Else a ValueError."""
        condition = inputs.in_order(condition, self.condition_names, "condition")
        return inputs.check_condition(condition, self.condition_shape, batch, self.compute_dtype)


def _evaluation_seeds(first_row, n, num_samples):
    """Seeds int32 [n, 2] of each draw of the noise of rows `first_row` ... in an evaluation; training has streams from 0 on."""
    return [seeds_of_places(first_row, n, -2 - k) for k in range(num_samples)]


class _FromDistribution(DensityModel):
    """The model of `DensityModel.from_distribution`; its distribution is no plain value, so it has no config."""

    def get_config(self):
        raise NotImplementedError(
            "A model made by from_distribution has no config. To load its weights, build the distribution again, then "
            "`DensityModel.from_distribution(distribution).restore(path)`."
        )
