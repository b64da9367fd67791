from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class GatedPixelCNN(DensityModel):
    """Gated masked convolutions in two stacks. Exact log p(x), in one pass.

        log p(x) = sum_t log p(x_t | x_<t),  the parameters of p(x_t | x_<t) from gates tanh(a) * sigmoid(b) of convolutions

    with t over pixels row by row, and over R, G, B within a pixel. p is Bernoulli for levels=2, else Categorical, as in the
    paper, or a mixture of logistics. The layers' formulas are those of `networks.GatedPixelCNN`.

    One stack sees the rows above, the other the pixels to the left: together all pixels before, within reach. A sample computes
    each activation once, at about the arithmetic of a score.

    Shapes: x [*batch, *event_shape], integers; c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      filters: width of both stacks, a multiple of the channels.
      num_layers: gated layers, the first one counted.
      kernel_size, first_kernel_size: of the layers and of the first one, odd.
      head_filters: width between the last two convolutions, a multiple of the channels.
      dropout: rate after the horizontal gates, in training only.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of dropout.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an event_shape that is no image, widths that are no such multiples, and kernel sizes that are not odd.
      ValueError: from `log_prob` and `fit` for x that holds other numbers than the levels.

    Source: van den Oord et al. 2016, arXiv:1606.05328, section 2, eq. 2-4, figure 2.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 2, (8, 2, 2))
        >>> model = tfdgm.models.GatedPixelCNN((2, 2), filters=4, num_layers=2, first_kernel_size=3, head_filters=4)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 2, 2]))
    """

    __init__ = init_of(networks.GatedPixelCNN)
