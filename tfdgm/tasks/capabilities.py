"""What the checks ask of a model and of its distribution."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

#: What log_prob is, in words, by kind.
WORDS = {
    "exact": "exact log p",
    "lower bound": "a lower bound on log p",
    "estimate": "one draw of an estimate whose mean is a lower bound on log p",
}


def of_base(flow, condition):
    """Conditions as a flow hands them to its base."""
    return None if flow.base.condition_shape is None else condition


def rebuilt(model, dtype):
    """A second model of that dtype, built from `model`'s config with its weights; None where a config does not tell all."""
    try:
        config = model.get_config()
    except NotImplementedError:
        return None
    if "dtype" not in config:
        return None
    other = type(model).from_config({**config, "dtype": dtype})
    other.use_xla = False
    set_weights(other, [weight.numpy() for weight in model.weights])
    return other


def set_weights(model, values):
    """Assigns arrays to all weights, in their own dtypes."""
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(tf.cast(value, weight.dtype))


def unconstrained(density):
    """(to_reals, log_prob) of a density: x [n, *event] -> y [n, k] over all of R^k, and y -> its log-density, None where y is x.
    None where TFP does not know the support."""
    try:
        bijector = density.experimental_default_event_space_bijector()
    except NotImplementedError:
        bijector = None
    if bijector is None:
        return None
    shape = bijector.inverse_event_shape(density.event_shape)
    size = int(np.prod(shape, dtype=int))
    if isinstance(bijector, tfb.Identity):
        return lambda x: tf.reshape(x, (-1, size)), None

    # Copies of tensors, so that TFP's cache does not answer in place of the mathematics.
    def log_prob(y):
        y = tf.reshape(y, (-1, *shape))
        log_det = bijector.forward_log_det_jacobian(tf.identity(y), event_ndims=len(shape))
        return density.log_prob_of_rows(bijector.forward(tf.identity(y))) + log_det

    return lambda x: tf.reshape(bijector.inverse(tf.identity(x)), (-1, size)), log_prob
