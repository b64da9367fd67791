from tfdgm import families, networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel


class PixelRNN(DensityModel):
    """LSTMs over an image, by rows or by diagonals: van den Oord et al. 2016, arXiv:1601.06759. Exact log p(x), in one pass.

    p(x) = prod_t p(x_t | x_<t), t over pixels row by row, and over R, G, B within a pixel. Binary data (levels=2): Bernoulli.
    Integers (levels=L): Categorical, as in the paper. A sample computes each activation once, at about the arithmetic of a score.

    The Diagonal BiLSTM sees all pixels before, and scores in height + width - 1 steps a layer; the Row LSTM, which does not see
    some to the sides in the rows above, scores in height steps.

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      kind, filters, num_layers, kernel_size, first_kernel_size, head_filters, dropout, condition_shape, seed: see
        `networks.PixelRNN`.
    """

    def __init__(
        self,
        event_shape,
        *,
        kind="diagonal",
        levels=2,
        num_components=None,
        filters=48,
        num_layers=7,
        kernel_size=3,
        first_kernel_size=7,
        head_filters=96,
        dropout=0.0,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
        family = families.of_levels(levels, num_components)
        network = networks.PixelRNN(
            event_shape,
            kind=kind,
            params_size=family.params_size,
            filters=filters,
            num_layers=num_layers,
            kernel_size=kernel_size,
            first_kernel_size=first_kernel_size,
            head_filters=head_filters,
            dropout=dropout,
            condition_shape=condition_shape,
            seed=seed,
            dtype=self.dtype_policy,
        )
        self._set_distribution(Autoregressive.of_new(network, family), seed)
