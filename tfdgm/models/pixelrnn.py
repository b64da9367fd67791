from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class PixelRNN(DensityModel):
    """LSTMs over an image, by rows or by diagonals. Exact log p(x), in one pass.

        log p(x) = sum_t log p(x_t | x_<t),  the parameters of p(x_t | x_<t) from LSTMs over x_<t

    with t over pixels row by row, and over R, G, B within a pixel. p is Bernoulli for levels=2, else Categorical, as in the
    paper, or a mixture of logistics. The layers' formulas are those of `networks.PixelRNN`.

    The Diagonal BiLSTM sees all pixels before, and scores in height + width - 1 steps a layer; the Row LSTM, which does not see
    some to the sides in the rows above, scores in height steps. A sample computes each activation once, at about the arithmetic
    of a score.

    Shapes: x [*batch, *event_shape], integers; c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      kind: "row" or "diagonal".
      filters: width of the LSTMs, a multiple of the channels; the residual blocks are twice as wide.
      num_layers: LSTMs.
      kernel_size, first_kernel_size: of a Row LSTM and of the first convolution, odd.
      head_filters: width between the last two convolutions, a multiple of the channels.
      dropout: rate after each LSTM, in training only.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of dropout.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an event_shape that is no image, another `kind`, widths that are no such multiples, and even kernel sizes.
      ValueError: from `log_prob` and `fit` for x that holds other numbers than the levels.

    Source: van den Oord et al. 2016, arXiv:1601.06759, sections 3.1-3.3, figure 5, table 1; the condition as in
    arXiv:1606.05328, eq. 4. We differ: the Diagonal BiLSTM sees all of the row above, too; see `networks.PixelRNN`.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 2, (8, 2, 2))
        >>> model = tfdgm.models.PixelRNN((2, 2), filters=4, num_layers=1, first_kernel_size=3, head_filters=4)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 2, 2]))
    """

    __init__ = init_of(networks.PixelRNN)
