import abc
import math

from keras import ops


class Family(abc.ABC):
    """A family of distributions over one scalar x, given `params_size` unconstrained parameters.

    Positions of an event may differ, as columns of several kinds do: methods take the `position`, flat indices that broadcast to
    x. A family whose positions are alike ignores it.

    Attributes:
      params_size: parameters of one position.
      position_shape: () for a scalar x; of a family over vectors, their shape.
      uniforms_size: uniform numbers that one draw uses up.
      levels: None for a density over the reals; L for a mass function over the integers 0..L-1.
      is_reparameterized: whether a draw is differentiable in the parameters, so that gradients of samples are those of their law.
    """

    params_size: int
    position_shape = ()
    uniforms_size = 1
    levels = None
    is_reparameterized = False

    @abc.abstractmethod
    def log_prob(self, params, x, position=None):
        """params [..., params_size], x [..., *position_shape] -> [...], nats; -inf where x is none of the levels."""

    def log_probs(self, params, position=None):
        """Of a family of levels, `log_prob` of them all: params [..., params_size] -> [..., levels], nats."""
        position = None if position is None else ops.expand_dims(position, -1)
        return self.log_prob(params[..., None, :], ops.arange(self.levels, dtype=params.dtype), position)

    @abc.abstractmethod
    def sample(self, params, uniforms, position=None):
        """params [..., params_size], uniforms [..., uniforms_size] in (0, 1) -> x [..., *position_shape], in params' dtype."""

    def initial_params(self):
        """Parameters [params_size] that a network's outputs start around without data, or None for zeros.

        Components of a mixture that start equal stay equal wherever no input tells them apart, as in the first position.
        """
        return None

    def marginal_params(self, x):
        """params [*event, params_size] that say about each position what rows x [n, *event] do, or None.

        Where a network's output biases start.
        """
        return None

    def distribution(self, params):
        """The same as a `tfd.Distribution` of batch shape [...]; needs TensorFlow Probability."""
        raise NotImplementedError

    def _on_levels(self, log_prob, x):
        """`log_prob` [...] where x [...] is one of the levels, else -inf."""
        is_level = (x >= 0) & (x <= self.levels - 1) & ops.equal(x, ops.floor(x))
        return ops.where(is_level, log_prob, -math.inf)
