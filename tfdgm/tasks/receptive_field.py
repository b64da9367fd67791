import numpy as np
import tensorflow as tf


def receptive_field(model, position, *, condition=None, rows=32, seed=0):
    """The set of positions that the parameters of p(x_t | x_<t) at `position` depend on.

        {i: d (v . params_t) / d x_i is not 0 for some of `rows` random x and v},  v, x ~ N(0, I)

    That is what the network sees with its present weights: weights that are zero (of untrained output layers, of units that no x
    turns on) hide connections, so look at a trained model, or at one with random weights. Cut connections are zero exactly.

    Args:
      model: an autoregressive `DensityModel`.
      position: index into an event, such as (row, column) or (row, column, channel); an integer for a vector.
      condition: c [*condition_shape] for a model that takes one; by default random.
      rows: number of random x. One gradient is taken for all.
      seed: of x, v and c.

    Returns:
      A set of tuples, each an index into an event; `tfdgm.training.pictures.receptive_field` draws it.

    Raises:
      ValueError: for a model that is not autoregressive, or a position outside an event.
    """
    if not model.distribution.is_autoregressive:
        raise ValueError(
            "Expected an autoregressive model over x itself (MADE of integers, PixelCNN, ...). "
            f"Received: {type(model).__name__}, whose distribution is {type(model.distribution).__name__}"
        )
    network = model.distribution.network
    position = tuple(np.atleast_1d(position).tolist())
    inside = len(position) == len(model.event_shape) and all(
        isinstance(i, int) and 0 <= i < size for i, size in zip(position, model.event_shape, strict=True)
    )
    if not inside:
        raise ValueError(f"`position` must be an index into event_shape={model.event_shape}. Received: position={position}")
    random = np.random.default_rng(seed)
    if condition is None and model.condition_shape is not None:
        condition = random.normal(size=(rows, *model.condition_shape))
    condition = model.check_condition(condition, (rows,))
    x = tf.constant(random.normal(size=(rows, *model.event_shape)) * network.unit, network.compute_dtype)
    v = tf.constant(random.normal(size=(rows, network.params_size)), network.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        params = network(x, condition=None if condition is None else model.distribution.standardized(tf.constant(condition)))
        at_position = tf.reduce_sum(v * params[(slice(None), *position)])
    # No gradient at all is that of the first position, which depends on nothing.
    gradient = tape.gradient(at_position, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {tuple(index) for index in np.argwhere((gradient.numpy() != 0).any(axis=0)).tolist()}
