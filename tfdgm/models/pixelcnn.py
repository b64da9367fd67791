from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class PixelCNN(DensityModel):
    """Masked convolutions over an image: van den Oord et al. 2016, arXiv:1601.06759. Exact log p(x), in one pass.

    p(x) = prod_t p(x_t | x_<t), t over pixels row by row, and over R, G, B within a pixel. Binary data (levels=2): Bernoulli.
    Integers (levels=L): Categorical, as in the paper. A sample computes each activation once, at about the arithmetic of a score.

    The plain architecture does not see some earlier pixels, to the right in the rows above; `GatedPixelCNN` sees all.

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      filters, num_layers, kernel_size, first_kernel_size, head_filters, activation, dropout, condition_shape, seed: see
        `networks.PixelCNN`.
    """

    __init__ = init_of(networks.PixelCNN)
