from collections.abc import Callable, Sequence

import keras

from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import flow_over


class MADE(DensityModel):
    """Masked autoencoder for distribution estimation. Exact log p(x), in one pass.

        log p(x) = sum_d log p(x_d | x_<d),  the parameters of p(x_d | x_<d) = network(x), masked to x_<d

    Binary data (levels=2): Bernoulli. Integers (levels=L): Categorical. Real data (levels=None): a mixture of `num_components`
    normals, on standardised data. The layers' formulas are those of `networks.MADE`.

    Shapes: x [*batch, *event_shape], c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: shape of one event, e.g. (784,) or (28, 28).
      levels: L for integers 0..L-1 (2 for binary data), or None for real data.
      num_components: normals in each conditional of real data.
      hidden_units: widths of the hidden layers; equal ones with `residual`.
      activation: any Keras activation.
      input_order: "left-to-right", "right-to-left", "random" (by `seed`), or a permutation of 0..D-1.
      hidden_degrees: "sequential" or "random" (by `seed`).
      residual: residual connections from the second hidden layer on.
      direct: the paper's direct connections from inputs to outputs.
      dropout: rate after each hidden layer, in training only.
      standardize: for real data, as in MAF.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of the random order and degrees.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an order that is no permutation, no hidden layer, and `residual` with layers of several widths.
      ValueError: from `log_prob` and `fit` for x of another shape, and for numbers that are not finite or no levels.

    Source: Germain et al. 2015, arXiv:1502.03509, eq. 12-13. We differ: one mask, not several in turn; hidden units sorted by
    degree; see `networks.MADE`.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 2, (8, 5))
        >>> model = tfdgm.models.MADE((5,), hidden_units=(8,))
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 5]))
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        levels: int | None = 2,
        num_components: int = 10,
        hidden_units: Sequence[int] = (500,),
        activation: str | Callable = "relu",
        input_order: str | Sequence[int] = "left-to-right",
        hidden_degrees: str = "sequential",
        residual: bool = False,
        direct: bool = True,
        dropout: float = 0.0,
        standardize: bool = True,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
    ):
        super().__init__(dtype=dtype, name=name)
        family = families.MixtureOfNormals(num_components) if levels is None else families.of_levels(levels)
        network = networks.MADE(
            event_shape,
            params_size=family.params_size,
            hidden_units=hidden_units,
            activation=activation,
            input_order=input_order,
            hidden_degrees=hidden_degrees,
            residual=residual,
            direct=direct,
            dropout=dropout,
            levels=levels,
            condition_shape=condition_shape,
            seed=seed,
            dtype=self.dtype_policy,
        )
        distribution = Autoregressive.of_new(network, family)
        if levels is None and standardize:
            distribution = flow_over([], event_shape, None, True, condition_shape, self.dtype_policy, base=distribution)
        self._set_distribution(distribution, seed)
