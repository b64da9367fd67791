import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdgm.bijectors import Bijector, forward_and_log_det, inverse_and_log_det, latent_shape_of
from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.standard_normal import StandardNormal
from tfdgm.distributions.wrapped import Wrapped
from tfdgm.event import Event
from tfdgm.layers import Standardize


class Flow(Distribution):
    """A normalizing flow: x = f(z), z ~ base; log p(x) = log p_base(f^-1(x)) + log |det df^-1/dx|, from one run of f^-1.

    Rezende & Mohamed 2015, arXiv:1505.05770, eq. 5.

    The bijector gets conditions standardised, once `adapt` has seen some; a base that takes them, as they come.

    Args:
      bijector: f; ours or a stock TFP one. One over vectors sees the event flattened.
      event_shape: shape of x, which the bijector is asked whether it takes.
      base: a `tfd.Distribution` of z, of the shape that the bijector makes of x's; the standard normal by default.
      condition_shape: shape of the condition; by default the one that the bijector or the base takes, if any.
      condition_scaling: a `layers.Standardize` of conditions; a new one by default.
    """

    def __init__(
        self,
        bijector,
        event_shape,
        *,
        base=None,
        condition_shape=None,
        condition_scaling=None,
        dtype=tf.float32,
        name="flow",
    ):
        # A stock bijector says 0 where it works elementwise: its log-det is then summed over the vector.
        self.event_ndims = max(1, bijector.inverse_min_event_ndims)
        self._inner_shape = (math.prod(event_shape),) if self.event_ndims == 1 else tuple(event_shape)
        self._inner_latent_shape = latent_shape_of(bijector, self._inner_shape)
        #: Shape of z.
        self.latent_shape = tuple(event_shape) if self._inner_latent_shape == self._inner_shape else self._inner_latent_shape
        base = StandardNormal(self.latent_shape, dtype=dtype) if base is None else base
        if base.event_shape != self.latent_shape:
            raise ValueError(f"`base` must have event_shape {self.latent_shape}. Received: {tuple(base.event_shape)}")
        self.bijector, self.base = bijector, base if isinstance(base, Distribution) else Wrapped(base)
        self.kind = self.base.kind
        of_bijector = getattr(bijector, "condition_shape", None)
        if condition_scaling is None and of_bijector is not None:
            condition_scaling = Standardize(of_bijector, dtype=tf.as_dtype(dtype).name)
        taken = [tuple(shape) for shape in (of_bijector, self.base.condition_shape) if shape is not None]
        asked = taken[0] if condition_shape is None and taken else condition_shape
        if any(shape != tuple(asked) for shape in taken) or (asked is not None and not taken):
            raise ValueError(
                "`condition_shape` must be that of the bijector, of the base, or of both, which take the same condition. "
                f"Received: condition_shape={condition_shape}; {of_bijector} and {self.base.condition_shape} of bijector and base"
            )
        super().__init__(
            Event(event_shape),
            dtype=dtype,
            condition_shape=asked,
            is_reparameterized=self.base.reparameterization_type == tfd.FULLY_REPARAMETERIZED,
            condition_scaling=condition_scaling,
            name=name,
        )

    @property
    def source(self):
        return self.base

    def _log_prob_of_rows(self, x, condition, noise, known):
        z, log_det = self.to_base(x, condition)
        return self.base.log_prob_of_rows(z, self._of_base(condition), noise) + log_det

    def scoring_noise(self, seeds):
        return self.base.scoring_noise(seeds)

    def to_base(self, x, condition=None):
        """x [n, *event_shape] -> (z [n, *latent_shape], log |det dz/dx| [n])."""
        x = tf.reshape(x, (-1, *self._inner_shape))
        z, log_det = inverse_and_log_det(self.bijector, x, self.standardized(condition), self.event_ndims)
        return tf.reshape(z, (-1, *self.latent_shape)), log_det

    def from_base(self, z, condition=None):
        """z [n, *latent_shape] -> x [n, *event_shape]."""
        return self.from_base_and_log_det(z, condition)[0]

    def from_base_and_log_det(self, z, condition=None):
        """z [n, *latent_shape] -> (x [n, *event_shape], log |det dx/dz| [n])."""
        z = tf.reshape(z, (-1, *self._inner_latent_shape))
        x, log_det = forward_and_log_det(self.bijector, z, self.standardized(condition), len(self._inner_latent_shape))
        return tf.reshape(x, (-1, *self.event.shape)), log_det

    def draw_noise(self, seeds):
        return self.base.draw_noise(seeds)

    def _from_noise(self, noise, condition):
        return self.from_base(self.base.from_noise(noise, self._of_base(condition)), condition)

    def _from_noise_and_log_prob(self, noise, condition):
        z, log_prob = self.base.from_noise_and_log_prob(noise, self._of_base(condition))
        x, log_det = self.from_base_and_log_det(z, condition)
        return x, log_prob - log_det

    def functions(self):
        return flow_functions(self, self.dtype)

    def _adapt(self, x, condition):
        if isinstance(self.bijector, Bijector):
            self.bijector.adapt(tf.reshape(x, (-1, *self._inner_shape)), self.standardized(condition))
        self.base.adapt_to_rows(self.to_base(x, condition)[0], self._of_base(condition))

    def _of_base(self, condition):
        """The condition as it came, where the base takes one."""
        return None if self.base.condition_shape is None else condition


def flow_functions(distribution, dtype):
    """`functions()` of a distribution with `to_base` and `from_base`; dtype: of z."""

    def encode(x, condition=None):
        z, log_det = distribution.to_base(x, condition)
        return {"z": z, "log_det": log_det}

    def decode(z, condition=None):
        return {"x": distribution.from_base(z, condition)}

    z = tf.TensorSpec((None, *distribution.latent_shape), dtype)
    return {"encode": (encode, {"x": distribution.event_spec}), "decode": (decode, {"z": z})}
