from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel


class PixelCNNPlusPlus(DensityModel):
    """Residual blocks over an image and two coarser ones, and a mixture of logistics over a pixel's colours together: PixelCNN++,
    Salimans et al. 2017, arXiv:1701.05517. Exact log p(x), in one pass.

    p(x) = prod_i p(x_i | x_<i), i over pixels row by row; the colours of a pixel share the components of one mixture (eq. 3). A
    sample computes each activation once (Ramachandran et al. 2017, arXiv:1704.06001), at about the arithmetic of a score.

    Args:
      event_shape: (height, width) or (height, width, channels); height and width are multiples of 2^num_downsamplings.
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of the mixture; see `families.DiscretizedLogisticMixture`. 0 or None, for one channel only: one parameter a
        level (Categorical), or for binary data Bernoulli.
      filters, num_resnets, num_downsamplings, dropout, condition_shape, seed: see `networks.PixelCNNPlusPlus`.
    """

    def __init__(
        self,
        event_shape,
        *,
        levels=256,
        num_components=10,
        filters=32,
        num_resnets=1,
        num_downsamplings=2,
        dropout=0.5,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
        family = families.of_levels(levels, num_components)
        network = networks.PixelCNNPlusPlus(
            event_shape,
            params_size=family.params_size,
            levels=levels if num_components else None,
            filters=filters,
            num_resnets=num_resnets,
            num_downsamplings=num_downsamplings,
            dropout=dropout,
            condition_shape=condition_shape,
            seed=seed,
            dtype=self.dtype_policy,
        )
        self._set_distribution(Autoregressive.of_new(network, family), seed)
