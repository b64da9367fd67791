from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class PixelSNAIL(DensityModel):
    """Causal convolutions and attention in turn. Exact log p(x), in one pass.

        log p(x) = sum_t log p(x_t | x_<t),  the parameters of p(x_t | x_<t) from convolutions of x_<t and attention to it

    with t over pixels row by row, and over R, G, B within a pixel. p is Bernoulli for levels=2, else Categorical, or a mixture of
    logistics. The layers' formulas are those of `networks.PixelSNAIL`.

    Each pixel sees all pixels before it, whatever the image's size. A sample computes each activation once, at about the
    arithmetic of a score: attention keeps keys and values.

    Shapes: x [*batch, *event_shape], integers; c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      filters: width of the residual blocks, a multiple of 2 channels.
      num_blocks: blocks, each with one attention.
      num_layers: convolutional residual blocks before each attention.
      key_size: features of queries and keys for each colour.
      dropout: rate within each residual block, in training only.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of dropout.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an event_shape that is no image, `filters` that are no such multiple, and sizes below 1.
      ValueError: from `log_prob` and `fit` for x that holds other numbers than the levels.

    Source: Chen et al. 2017, arXiv:1712.09763, figures 2-4. We differ: each colour of a pixel has a distribution of its own,
    given those before it, in the place of one mixture over all; no weight normalization; see `networks.PixelSNAIL`.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 2, (8, 2, 2))
        >>> model = tfdgm.models.PixelSNAIL((2, 2), filters=4, num_blocks=1, num_layers=1, key_size=2)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 2, 2]))
    """

    __init__ = init_of(networks.PixelSNAIL)
