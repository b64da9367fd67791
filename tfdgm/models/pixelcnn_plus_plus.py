from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


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

    __init__ = init_of(networks.PixelCNNPlusPlus)
