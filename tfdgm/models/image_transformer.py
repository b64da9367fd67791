from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class ImageTransformer(DensityModel):
    """Causal self-attention over sub-pixels: Parmar et al. 2018, arXiv:1802.05751. Exact log p(x), in one pass.

    p(x) = prod_t p(x_t | x_<t), t over pixels row by row, and over R, G, B within a pixel. Binary data (levels=2): Bernoulli.
    Integers (levels=L): Categorical, or a mixture of logistics; the paper has both (its mixture couples a pixel's colours). A
    sample computes each activation once, at about the arithmetic of a score: attention keeps keys and values.

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      hidden_size, num_layers, num_heads, head_size, feed_forward_size, block_length, memory_length, dropout, condition_shape,
      seed: see `networks.ImageTransformer`.
    """

    __init__ = init_of(networks.ImageTransformer)
