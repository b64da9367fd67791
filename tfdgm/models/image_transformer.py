from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel


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

    def __init__(
        self,
        event_shape,
        *,
        levels=2,
        num_components=None,
        hidden_size=128,
        num_layers=4,
        num_heads=4,
        head_size=16,
        feed_forward_size=512,
        block_length=128,
        memory_length=None,
        dropout=0.0,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
        family = families.of_levels(levels, num_components)
        network = networks.ImageTransformer(
            event_shape,
            params_size=family.params_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            head_size=head_size,
            feed_forward_size=feed_forward_size,
            block_length=block_length,
            memory_length=memory_length,
            dropout=dropout,
            condition_shape=condition_shape,
            seed=seed,
            dtype=self.dtype_policy,
        )
        self._set_distribution(Autoregressive.of_new(network, family), seed)
