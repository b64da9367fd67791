from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


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

    __init__ = init_of(networks.PixelSNAIL)
