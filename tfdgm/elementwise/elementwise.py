import abc


class Elementwise(abc.ABC):
    """An increasing map x = f(z) of one scalar, given `params_size` unconstrained parameters; of zeros it is the identity.

    What families are for distributions: `bijectors.Coupling`, `bijectors.MaskedAutoregressive` and `bijectors.Parametric` carry
    any of them. Shapes: params [..., params_size], z and x [...] -> [...].

    Attributes:
      params_size: parameters of one position.
    """

    params_size: int

    @abc.abstractmethod
    def forward(self, params, z):
        """z -> (x, log dx/dz), nats."""

    @abc.abstractmethod
    def inverse(self, params, x):
        """x -> (z, log dz/dx), nats. `numerical_inverse` where there is no formula."""
