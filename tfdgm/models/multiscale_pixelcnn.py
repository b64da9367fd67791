from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class MultiscalePixelCNN(DensityModel):
    """Groups of pixels drawn at once: Reed et al. 2017, arXiv:1703.03664. log p(x) in one pass, a sample in O(log n) of them.

    p(x) = prod_g p(x_g | x_<g) over groups of pixels, from a coarse grid to ever finer ones. Within a group pixels are assumed
    independent given all groups before it: log p(x) is exact for this model, which is less expressive than a `GatedPixelCNN`.
    Binary data (levels=2): Bernoulli. Integers (levels=L): Categorical, as in the paper. See `networks.MultiscalePixelCNN`.

    Args:
      event_shape: (height, width) or (height, width, channels); height and width multiples of 2^num_scales.
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      num_scales, filters, num_layers, base_layers, kernel_size, head_filters, dropout, condition_shape, seed: see
        `networks.MultiscalePixelCNN`.
    """

    __init__ = init_of(networks.MultiscalePixelCNN)
