from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class MultiscalePixelCNN(DensityModel):
    """Groups of pixels drawn at once. log p(x) in one pass, a sample in O(log n) of them.

        log p(x) = sum_g sum_(i in g) log p(x_i | all groups before g),  log p(x_i | ...) = sum_(colours k) log p(x_ik | ...)

    over groups g of pixels, from a coarse grid to ever finer ones. The first group is a small image under a `GatedPixelCNN`. p is
    Bernoulli for levels=2, else Categorical, as in the paper, or a mixture of logistics. The layers' formulas are those of
    `networks.MultiscalePixelCNN`.

    Within a group pixels are assumed independent given all groups before it: log p(x) is exact for this model, which is less
    expressive than a `GatedPixelCNN`.

    Shapes: x [*batch, *event_shape], integers; c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: (height, width) or (height, width, channels); height and width multiples of 2^num_scales.
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      num_scales: how often the resolution doubles, 1 or more.
      filters: width of all networks, a multiple of the channels.
      num_layers, base_layers: residual blocks of each group's network, and layers of the first image's.
      kernel_size: of the convolutions that are not 1x1, odd.
      head_filters: width between the last two convolutions, a multiple of the channels.
      dropout: rate inside each block, in training only.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of dropout.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an event_shape that is no image or no such multiple, widths that are none, and even kernel sizes.
      ValueError: from `log_prob` and `fit` for x that holds other numbers than the levels.

    Source: Reed et al. 2017, arXiv:1703.03664, section 3, figures 2 and 3 (A). We differ: a colour sees those before it in
    its own pixel alone, not in the whole group; see `networks.MultiscalePixelCNN`.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 2, (8, 2, 2))
        >>> model = tfdgm.models.MultiscalePixelCNN((2, 2), num_scales=1, filters=4, num_layers=1, base_layers=1, head_filters=4)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 2, 2]))
    """

    __init__ = init_of(networks.MultiscalePixelCNN)
