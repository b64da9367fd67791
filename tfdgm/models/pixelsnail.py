from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel


class PixelSNAIL(DensityModel):
    """Causal convolutions and attention in turn: Chen et al. 2017, arXiv:1712.09763. Exact log p(x), in one pass.

    p(x) = prod_t p(x_t | x_<t), t over pixels row by row, and over R, G, B within a pixel. Binary data (levels=2): Bernoulli.
    Integers (levels=L): Categorical, or a mixture of logistics, as in the paper but for how it couples a pixel's colours. Each
    pixel sees all pixels before it, whatever the image's size. A sample computes each activation once, at about the arithmetic
    of a score: attention keeps keys and values.

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      filters, num_blocks, num_layers, key_size, dropout, condition_shape, seed: see `networks.PixelSNAIL`.
    """

    def __init__(
        self,
        event_shape,
        *,
        levels=2,
        num_components=None,
        filters=72,
        num_blocks=2,
        num_layers=4,
        key_size=16,
        dropout=0.0,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
        family = families.of_levels(levels, num_components)
        network = networks.PixelSNAIL(
            event_shape,
            params_size=family.params_size,
            filters=filters,
            num_blocks=num_blocks,
            num_layers=num_layers,
            key_size=key_size,
            dropout=dropout,
            condition_shape=condition_shape,
            seed=seed,
            dtype=self.dtype_policy,
        )
        self._set_distribution(Autoregressive.of_new(network, family), seed)
