from tfdgm import networks
from tfdgm.models.density_model import DensityModel
from tfdgm.models.of_network import init_of


class ImageTransformer(DensityModel):
    """Causal self-attention over sub-pixels. Exact log p(x), in one pass.

        log p(x) = sum_t log p(x_t | x_<t),  the parameters of p(x_t | x_<t) from layers of attention to x_<t

    with t over pixels row by row, and over R, G, B within a pixel. p is Bernoulli for levels=2, else Categorical, or a mixture of
    logistics; the paper has both. The layers' formulas are those of `networks.ImageTransformer`.

    A sample computes each activation once, at about the arithmetic of a score: attention keeps keys and values, of all
    positions, or with a block_length of its block and of the memory before it.

    Shapes: x [*batch, *event_shape], integers; c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: (height, width) or (height, width, channels).
      levels: L for integers 0..L-1; 2 for binary data.
      num_components: of a mixture of discretized logistics in the place of one parameter a level (Salimans et al. 2017,
        arXiv:1701.05517), which knows that neighbouring levels are alike; see `families.DiscretizedLogisticMixture`.
      hidden_size: width of the layers.
      num_layers: layers, each of attention and of two dense layers.
      num_heads, head_size: attentions side by side, and the features of each one's query, key and value.
      feed_forward_size: width between the two dense layers.
      block_length, memory_length: of local attention, in sub-pixels: a block, and what is seen before it. A memory_length of None
        is as long as the block, and a block_length of None attends to all.
      dropout: rate after each attention and dense pair, and at the input, in training only.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of dropout.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for an event_shape that is no image, sizes below 1, and a memory_length without a block_length.
      ValueError: from `log_prob` and `fit` for x that holds other numbers than the levels.

    Source: Parmar et al. 2018, arXiv:1802.05751, sections 3.1-3.3, eq. 1-2. We differ: x enters by a linear map under
    Categorical, too; the mixture does not couple a pixel's colours; see `networks.ImageTransformer`.

    Example:

        >>> x = np.random.default_rng(0).integers(0, 2, (8, 2, 2))
        >>> model = tfdgm.models.ImageTransformer((2, 2), hidden_size=4, num_layers=1, num_heads=2, feed_forward_size=8)
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 2, 2]))
    """

    __init__ = init_of(networks.ImageTransformer)
