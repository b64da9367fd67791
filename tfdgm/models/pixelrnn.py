from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


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

    __init__ = init_of(networks.PixelRNN)
