from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import flow_over


class MADE(DensityModel):
    """Masked autoencoder for distribution estimation: Germain et al. 2015, arXiv:1502.03509. Exact log p(x), in one pass.

    p(x) = prod_d p(x_d | x_<d), one mask. Binary data (levels=2): Bernoulli. Integers (levels=L): Categorical. Real data
    (levels=None): a mixture of `num_components` normals, on standardised data.

    Args:
      event_shape: shape of one event, e.g. (784,) or (28, 28).
      levels: L for integers 0..L-1 (2 for binary data), or None for real data.
      num_components: normals in each conditional of real data.
      hidden_units, activation, input_order, hidden_degrees, residual, direct, dropout, condition_shape, seed: see
        `networks.MADE`.
      standardize: for real data, as in MAF.
    """

    def __init__(
        self,
        event_shape,
        *,
        levels=2,
        num_components=10,
        hidden_units=(500,),
        activation="relu",
        input_order="left-to-right",
        hidden_degrees="sequential",
        residual=False,
        direct=True,
        dropout=0.0,
        standardize=True,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
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
