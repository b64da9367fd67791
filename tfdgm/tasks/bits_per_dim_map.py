import math

import numpy as np


def bits_per_dim_map(model, x, condition=None):
    """Where the bits of log p(x) are: -log2 p(x_t | x_<t) of every position, x [*batch, *event_shape] -> an array of that shape.

    The sum over an event is -log_prob(x) / log 2, and the mean is `model.bits_per_dim(x)`. In a model of integers each value is
    at least 0: the code length of x_t given what comes before. `tfdgm.training.pictures.heat_maps` draws it.

    Raises:
      ValueError: for a model that is not autoregressive, and for x and conditions as in `log_prob`.
    """
    if not model.distribution.is_autoregressive:
        raise ValueError(
            "Expected an autoregressive model over x itself (MADE of integers, PixelCNN, ...): others give no p(x_t | x_<t). "
            f"Received: {type(model).__name__}, whose distribution is {type(model.distribution).__name__}"
        )
    x = model.check_x(x)
    condition = model.check_condition(condition, x.shape[: x.ndim - len(model.event_shape)])
    nats = model.runner("log_prob_of_positions", x.reshape((-1, *model.event_shape)), condition)
    return -np.asarray(nats).reshape(x.shape) / math.log(2)
