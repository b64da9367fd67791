import math

import tensorflow as tf

from tfdgm.distributions.autoregressive import Autoregressive
from tfdgm.distributions.dequantized import Dequantized
from tfdgm.distributions.flow import Flow
from tfdgm.distributions.standard_normal import StandardNormal
from tfdgm.families import Bernoulli, Categorical, Family


def tempered(distribution, temperature):
    """`distribution` at a temperature T > 0, over the same networks: below 1 its samples are less varied, above 1 more.

    Autoregressive with Bernoulli or Categorical positions: p_T(x_t | x_<t) with every logit divided by T. Flows over the
    standard normal, those of integers too: x = f(T z), z ~ N(0, I), as in Kingma & Dhariwal 2018, arXiv:1807.03039, section 6
    (the base, there as here, not the density itself). The same seed gives the same z.

    Args:
      distribution: of a model (`model.distribution`).
      temperature: T.

    Raises:
      ValueError: for T <= 0, and for a distribution that has no such temperature.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"`temperature` must be a positive number. Received: {temperature}")
    name = f"{distribution.name}_at_temperature_{temperature:g}"
    if isinstance(distribution, Autoregressive) and isinstance(distribution.family, (Bernoulli, Categorical)):
        family = _TemperedFamily(distribution.family, temperature)
        given = {"end": distribution.likelihood.end, "condition_scaling": distribution.condition_scaling}
        return Autoregressive(distribution.network, family, **given, name=name)
    if isinstance(distribution, Dequantized):
        return Dequantized(tempered(distribution.density, temperature), distribution.levels, name=name)
    if isinstance(distribution, Flow):
        event_shape = distribution.event.shape
        if isinstance(distribution.base, StandardNormal):
            base = _ScaledNormal(event_shape, temperature, distribution.base.dtype)
        else:
            base = tempered(distribution.base, temperature)
        conditions = {"condition_shape": distribution.condition_shape, "condition_scaling": distribution.condition_scaling}
        return Flow(distribution.bijector, event_shape, base=base, **conditions, dtype=distribution.dtype, name=name)
    raise ValueError(
        "A temperature needs an autoregressive model of integers (Bernoulli, Categorical) or a flow over the standard normal. "
        f"Received: {type(distribution).__name__}"
        + (f" with {type(distribution.family).__name__}" if isinstance(distribution, Autoregressive) else "")
    )


class _TemperedFamily(Family):
    """A family of logits, each divided by T."""

    def __init__(self, family, temperature):
        self.params_size, self.uniforms_size, self.levels = family.params_size, family.uniforms_size, family.levels
        self._family, self._temperature = family, temperature

    def log_prob(self, params, x, position=None):
        return self._family.log_prob(params / self._temperature, x, position)

    def sample(self, params, uniforms, position=None):
        return self._family.sample(params / self._temperature, uniforms, position)

    def distribution(self, params):
        return self._family.distribution(params / self._temperature)


class _ScaledNormal(StandardNormal):
    """T z, z standard normal: log p(x) = log N(x / T; 0, I) - D log T."""

    is_standard_normal = False

    def __init__(self, event_shape, temperature, dtype):
        super().__init__(event_shape, dtype=dtype)
        self._temperature = temperature

    def _log_prob_of_rows(self, x, condition, noise, known):
        return super()._log_prob_of_rows(x / self._temperature, condition, noise, known) - self.event_size * math.log(
            self._temperature
        )

    def _from_noise(self, noise, condition):
        return tf.cast(self._temperature, self.dtype) * noise
