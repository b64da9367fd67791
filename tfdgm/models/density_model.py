import math
import os

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from tfdgm import serving
from tfdgm.arguments import check_whole
from tfdgm.columns import in_order
from tfdgm.distributions import Distribution, Wrapped
from tfdgm.event import Event
from tfdgm.models import completion
from tfdgm.models.arguments import check_can, check_condition, check_known, checked_arguments, is_eager, seeds_of_rows
from tfdgm.models.display import Display
from tfdgm.models.maximum_likelihood import MaximumLikelihood
from tfdgm.models.parts import build_layers
from tfdgm.models.runner import Runner, of_batch

_NAMES = ("column_names", "condition_names", "class_names")  # In the config, once training data gave them.


class DensityModel(Display, MaximumLikelihood):
    """A density over events of one shape, as a Keras model: `compile`, `fit`, `log_prob`, `sample`, `export`.

    The loss is built in: the mean negative log-likelihood in nats. A negative loss is no error: a density may exceed 1.
    For integer data under a flow (`levels=` with uniform dequantization), log_prob is an estimate (see `kind`).

        model = tfdgm.models.MAF(event_shape=(43,))
        model.compile(optimizer="adam")
        model.fit(x, validation_data=x_valid, epochs=10)
        model.log_prob(x)            # [n], nats
        model.sample(1000, seed=1)   # [1000, 43]
        model.plot_samples(data=x)   # a picture, in a notebook; plot_history() of the last fit
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
        instance.__dict__["_arguments"] = checked_arguments(cls, args, kwargs)
        return instance

    def _set_distribution(self, distribution, seed=0):
        """To be called at the end of a subclass's `__init__`."""
        if not isinstance(distribution, Distribution):
            raise TypeError(f"Expected a tfdgm.distributions.Distribution. Received: {type(distribution).__name__}")
        self.event, self.condition_shape = distribution.event, distribution.condition_shape
        #: Calls the distribution's functions on any number of rows.
        self.runner = Runner(self)
        self._track(distribution, seed)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x."""
        return self.event.shape

    @property
    def levels(self) -> int | tuple | None:
        """None for reals, L for integers 0..L-1, or one of either for each column."""
        return self.event.levels

    @classmethod
    def from_distribution(cls, distribution: tfd.Distribution) -> "DensityModel":
        """Wraps any `tfd.Distribution` (batch shape []), stock TFP ones included, so that it can `fit` and `export`.

        Keras layers and `tf.Variable`s held as attributes anywhere inside are found and trained; what hides in a lambda is not.
        Fact to know: TFP turns parameters into tensors when a distribution is built from Keras weights, and such tensors do not
        train; give it `tf.Variable`s or layers.
        """
        if not isinstance(distribution, tfd.Distribution):
            raise TypeError(f"Expected a tfd.Distribution. Received: {type(distribution).__name__}")
        ours = distribution if isinstance(distribution, Distribution) else Wrapped(distribution)
        build_layers(distribution)
        dtype = ours.dtype.name if ours.dtype.is_floating else None
        model = _FromDistribution(dtype=dtype, name="from_distribution")
        model.use_xla = ours is distribution
        model._set_distribution(ours)
        return model

    def log_prob(
        self, x: ArrayLike, condition: ArrayLike | None = None, *, known: ArrayLike | None = None, num_samples: int = 1
    ) -> tf.Tensor:
        """x [*batch, *event_shape] -> log p(x) [*batch], nats; of x as given, whatever preprocessing the model holds.

        Under a `condition` [*batch, *condition_shape], log p(x|c). -infinity where float32 ends; x that the model does not take
        is an error here and in `predict` and `evaluate`, and -infinity inside tf.functions and in `distribution`.

        Of a model whose `kind` is "estimate" (flows with `levels`), log p(x + u) for one u, which is a fixed function of x. Its
        mean over u is a lower bound on log P(x), a single one may lie above. With `num_samples` = K, the log of the mean of K
        densities (Burda et al. 2016, arXiv:1509.00519, eq. 8): closer to log P(x), at K times the price. Exact models need one.

        Where entries may be missing (`event.missing`), those that are NaN, or 0 in `known`, are integrated out.

        Raises:
          ValueError: for another shape, what is not finite or none of the levels, a condition too much or too few, and unknown
            entries that this model cannot integrate out exactly.
        """
        check_whole(num_samples=num_samples)
        if not is_eager(x, condition, known):
            given = {"condition": condition, "known": known}
            given = {name: value for name, value in given.items() if value is not None}
            return self.distribution.log_prob(x, num_samples=num_samples, **given)
        known = check_known(self, in_order(x, self.column_names, "x"), in_order(known, self.column_names, "known"))
        checked = self.check_x(x)
        batch = self.event.batch_of(checked)
        rows = checked.reshape((-1, *self.event_shape))
        if tf.is_tensor(x) and known is None:  # Itself, so that gradients flow through.
            rows = tf.reshape(tf.cast(x, rows.dtype), rows.shape)
        condition = self.check_condition(condition, batch)
        if known is not None:
            known = known.reshape((-1, *self.event_shape))
            return of_batch(self.runner("log_prob_of_known", rows, condition, known), batch)
        if num_samples == 1 or self.kind != "estimate":
            return of_batch(self.runner("log_prob", rows, condition), batch)
        seeds = self.distribution.seeds_of_draws(tf.convert_to_tensor(rows), num_samples)
        draws = [self.runner("log_prob_of_seeds", rows, condition, seeds[:, k]) for k in range(num_samples)]
        return of_batch(tf.reduce_logsumexp(draws, axis=0) - math.log(num_samples), batch)

    def bits_per_dim(self, x: ArrayLike, condition: ArrayLike | None = None, *, num_samples: int = 1) -> tf.Tensor:
        """-log_prob(x) / (D log 2): x [*batch, *event_shape] -> [*batch]. Of integers for models with `levels`."""
        return -self.log_prob(x, condition, num_samples=num_samples) / (math.prod(self.event_shape) * math.log(2))

    def sample(self, n: int = 1, *, seed: int | None = None, condition: ArrayLike | None = None) -> tf.Tensor:
        """n samples, [n, *event_shape]. The same seed gives the same sample, and more samples begin with the same ones.

        Sample i is what the SavedModel's `sample` signature returns for the seed (seed, i).
        """
        check_whole(0, n=n)
        return self.runner("sample", seeds_of_rows(seed, n), self.check_condition(condition, (n,)))

    def complete(
        self,
        x: ArrayLike,
        known: ArrayLike,
        seed: int | None = None,
        *,
        condition: ArrayLike | None = None,
        num_candidates: int | None = None,
    ) -> tf.Tensor:
        """x [*batch, *event_shape] with the positions drawn where `known` is 0; of autoregressive models.

        Row i uses the noise of sample i with this seed, and is what the SavedModel's `complete` signature returns for (seed, i).
        Unknown positions are drawn one after the other from p(x_t | x_<t): exact draws from p(unknown | known) where all known
        positions of a row come before its unknown ones in the network's order (the upper rows of an image). Otherwise a draw does
        not look at the known positions that come later, and a warning says so; `num_candidates` then takes one of several draws
        by its importance weight (`tfdgm.models.completion`).

        Args:
          x: the known values; at unknown positions any that the model takes.
          known: 1 or True where x is kept, 0 or False where it is drawn; of x's shape, or of event_shape for all rows.
          seed: an integer; the same seed gives the same completion.
          condition: as in `sample`.
          num_candidates: K, or None for a single draw.

        Raises:
          ValueError: for another shape of x or `known`, values the model does not take, and a model that is not autoregressive.
        """
        check_can(self, "complete", "an autoregressive model over x itself (MADE of integers, PixelCNN, ...)")
        return completion.complete(self, x, known, seed, condition, num_candidates)

    def encode(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Of flows: x [*batch, *event_shape] -> (z [*batch, *latent_shape], log |det dz/dx| [*batch], nats), with z = f^-1(x). Of
        integers, z of x + u with the u of `log_prob`.

        Raises:
          ValueError: for a model that is no flow, and what `log_prob` refuses.
        """
        check_can(self, "encode", "a flow (MAF, RealNVP, ...)")
        x = self.check_x(x)
        batch = self.event.batch_of(x)
        z, log_det = self.runner("to_base", x.reshape((-1, *self.event_shape)), self.check_condition(condition, batch))
        return of_batch(z, batch), of_batch(log_det, batch)

    def decode(self, z: ArrayLike, condition: ArrayLike | None = None) -> tf.Tensor:
        """Of flows: z [*batch, *latent_shape] -> x [*batch, *event_shape]; the inverse of `encode`.

        Raises:
          ValueError: for a model that is no flow, another shape of z, and numbers that are not finite.
        """
        check_can(self, "decode", "a flow (MAF, RealNVP, ...)")
        latent = Event(self.distribution.latent_shape)
        z = latent.check(z, self.compute_dtype, name="z")
        batch = latent.batch_of(z)
        x = self.runner("from_base", z.reshape((-1, *latent.shape)), self.check_condition(condition, batch))
        return of_batch(x, batch)

    @property
    def kind(self) -> str:
        """What `log_prob` is: "exact"; "lower bound", on log p(x); or "estimate", one random draw whose mean is a lower bound."""
        return self.distribution.kind

    @property
    def is_bound(self) -> bool:
        """Whether `log_prob` is a bound or an estimate of one, and not exact."""
        return self.kind != "exact"

    def export(self, path: str | os.PathLike, **kwargs) -> None:
        """Writes a SavedModel to `path` ("dir/1": TF Serving's version folder), to be served or loaded with `tfdgm.load`.

        Signatures: `serving_default` = `log_prob`, `sample`, and `encode`, `decode` for flows, `complete` for autoregressive
        models. It runs without tfdgm. Written aside first: an existing version stays whole until the new one is.
        """
        serving.export(self, path, **kwargs)

    def restore(self, path: str | os.PathLike) -> None:
        """Sets the weights from a SavedModel that a model of the same kind exported."""
        serving.restore(self, path)

    def get_config(self) -> dict:
        names = {name: getattr(self, name) for name in _NAMES if getattr(self, name) is not None}
        return {**self._arguments, **names}

    @classmethod
    def from_config(cls, config: dict) -> "DensityModel":
        model = cls(**{name: value for name, value in config.items() if name not in _NAMES})
        for name in _NAMES:
            setattr(model, name, config.get(name) and tuple(config[name]))
        return model

    def check_x(self, x: ArrayLike) -> np.ndarray:
        """x [*batch, *event_shape] as an array of the model's dtype, columns in order; a ValueError for what it does not take."""
        return self.event.check(in_order(x, self.column_names, "x"), self.compute_dtype)

    def check_condition(self, condition: ArrayLike | None, batch: tuple[int, ...]) -> np.ndarray | None:
        """A condition [*batch, *condition_shape], or one for all, as rows; None where the model takes none. Else a ValueError."""
        condition = in_order(condition, self.condition_names, "condition")
        return check_condition(condition, self.condition_shape, batch, self.compute_dtype)


class _FromDistribution(DensityModel):
    """The model of `DensityModel.from_distribution`; its distribution is no plain value, so it has no config."""

    def get_config(self):
        raise NotImplementedError(
            "A model made by from_distribution has no config, so that no .keras file can hold it. Its weights can be kept: by "
            "`export(path)` or `save_weights(file)`. To load them, build the distribution again, then "
            "`DensityModel.from_distribution(distribution)` and its `restore(path)` or `load_weights(file)`."
        )
