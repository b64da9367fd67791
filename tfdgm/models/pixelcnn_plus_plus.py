from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class PixelCNNPlusPlus(DensityModel):
    """PixelCNN++: residual blocks over an image and coarser ones, and one mixture of logistics over a pixel's colours. Exact
    log p(x), in one pass.

        log p(x) = sum_i log p(x_i | x_<i),  p(x_i | x_<i) = sum_k w_k prod_c p_k(x_ic | x_i1 .. x_i(c-1))

    with i over pixels row by row, c over the colours, and p_k logistics rounded to the levels (see `networks.ColourCoupling`).
    The layers' formulas are those of `networks.PixelCNNPlusPlus`.

    A sample computes each activation once, at about the arithmetic of a score.

    Shapes: x [*batch, *event_shape], integers; c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: (height, width) or (height, width, channels); height and width are multiples of 2^num_downsamplings.
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of the mixture; see `families.DiscretizedLogisticMixture`. 0 or None, for one channel only: one parameter a
        level (Categorical), or for binary data Bernoulli.
      filters: width of both streams.
      num_resnets: blocks on a level, in each direction.
      num_downsamplings: how often height and width are halved.
      dropout: rate within the blocks, in training only.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of dropout.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an event_shape that is no image or no such multiple, sizes below 1, and several channels without a mixture.
      ValueError: from `log_prob` and `fit` for x that holds other numbers than the levels.

    Source: Salimans et al. 2017, arXiv:1701.05517, section 2 and figure 2, eq. 1-3; samples as in Ramachandran et al. 2017,
    arXiv:1704.06001. We differ: no weight normalization; see `networks.PixelCNNPlusPlus`.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 8, (8, 2, 2, 3))
        >>> model = tfdgm.models.PixelCNNPlusPlus((2, 2, 3), levels=8, num_components=2, filters=4, num_downsamplings=1)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 2, 2, 3]))
    """

    __init__ = init_of(networks.PixelCNNPlusPlus)
