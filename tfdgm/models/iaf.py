from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import flow_over
from tfdgm.models.maf import autoregressive_layers


class IAF(DensityModel):
    """Inverse autoregressive flow: Kingma et al. 2016, arXiv:1606.04934. Sampling is one pass of each network.

    The MAF with its two directions exchanged: z_i = x_i exp(a_i) + m_i with (m_i, r_i) = network(z_<i). Scoring data generates z
    dimension by dimension, so training on data costs several times MAF's; IAF is for sampling and variational inference.

    Args: as MAF.
    """

    def __init__(
        self,
        event_shape,
        *,
        num_layers=5,
        hidden_units=(512, 512),
        activation="relu",
        residual=False,
        act_norm=False,
        levels=None,
        standardize=True,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
        bijectors = autoregressive_layers(
            event_shape,
            num_layers,
            hidden_units,
            activation,
            residual,
            act_norm,
            condition_shape,
            self.dtype_policy,
            inverted=True,
        )
        self._set_distribution(flow_over(bijectors, event_shape, levels, standardize, condition_shape, self.dtype_policy), seed)
