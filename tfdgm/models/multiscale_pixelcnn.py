from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel


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

    def __init__(
        self,
        event_shape,
        *,
        levels=2,
        num_components=None,
        num_scales=2,
        filters=48,
        num_layers=2,
        base_layers=4,
        kernel_size=3,
        head_filters=96,
        dropout=0.0,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
        family = families.of_levels(levels, num_components)
        network = networks.MultiscalePixelCNN(
            event_shape,
            params_size=family.params_size,
            num_scales=num_scales,
            filters=filters,
            num_layers=num_layers,
            base_layers=base_layers,
            kernel_size=kernel_size,
            head_filters=head_filters,
            dropout=dropout,
            condition_shape=condition_shape,
            seed=seed,
            dtype=self.dtype_policy,
        )
        self._set_distribution(Autoregressive.of_new(network, family), seed)
