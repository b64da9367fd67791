import keras
import numpy as np
import tensorflow as tf

from tfdgm.traced import traced


def fisher_scores(model, x, weights=None, *, condition=None):
    """The gradient of log p(x) with respect to weights, one vector for each x: Yan et al. 2019, arXiv:1912.05015.

        g(x) = d log p(x; w) / d w,  flattened; under the model E g(x) = 0, and E g(x) g(x)^T is the Fisher information of w

    What the model would change to make x more likely: a latent representation of x in a model that has no latent variables.
    Every vector is as long as the weights, so `FisherEmbedding` projects them.

    Args:
      model: any `DensityModel`; of a bound, the gradient of the bound.
      x: [n, *event_shape].
      weights: a Keras layer of the model, or a list of its trainable weights, whose gradients follow one another; by default the
        output layer of an autoregressive network. Weights that a mask cuts off have gradient 0.
      condition: [n, *condition_shape] or [*condition_shape].

    Returns:
      float array [n, number of weights], in nats per unit of weight.

    Raises:
      ValueError: for weights that are not the model's, and for x and conditions as in `log_prob`.
    """
    variables = chosen_weights(model, weights)
    return np.asarray(map_scores(model, x, variables, condition, lambda score: score))


def chosen_weights(model, weights=None):
    """The variables of the `weights` argument of `fisher_scores`."""
    if weights is None:
        weights = _output_layer(model)
    variables = weights.trainable_weights if isinstance(weights, keras.layers.Layer) else list(weights)
    own = {id(weight) for weight in model.trainable_weights}
    if not variables or any(id(weight) not in own for weight in variables):
        strange = [getattr(weight, "path", repr(weight)) for weight in variables if id(weight) not in own]
        raise ValueError(f"`weights` must be trainable weights of the model, or a layer of it. Received: {strange or 'none'}")
    return variables


def map_scores(model, x, variables, condition, function):
    """function(score [number of weights]) of every row of x, as one tensor; no more than a few scores are held at a time."""
    x = model.check_x(x)
    if x.ndim != 1 + len(model.event_shape):
        raise ValueError(f"`x` must have shape [n, *{model.event_shape}]. Received: x.shape={x.shape}")
    condition = model.check_condition(condition, x.shape[:1])
    rows = (x,) if condition is None else (x, condition)

    def one(row):
        row = [part[None] for part in row]
        with tf.GradientTape() as tape:
            log_prob = model.distribution.log_prob_of_rows(*row)
        gradients = tape.gradient(log_prob, [weight.value for weight in variables], unconnected_gradients="zero")
        return function(tf.concat([tf.reshape(gradient, (-1,)) for gradient in gradients], axis=0))

    size = sum(int(np.prod(weight.shape)) for weight in variables)
    signature = function(tf.zeros(size, variables[0].dtype))
    signature = tf.TensorSpec(signature.shape, signature.dtype)
    # One row a step: the rows of a batch would come out added up.
    run = traced(lambda *rows: tf.map_fn(one, rows, fn_output_signature=signature))
    return run(*(tf.constant(part) for part in rows))


def _output_layer(model):
    network = model.distribution.network if model.distribution.is_autoregressive else None
    for name in ("head", "out"):
        layer = getattr(network, name, None)
        if layer is not None:
            return layer[-1] if isinstance(layer, (list, tuple)) else layer
    raise ValueError(
        f"{type(model).__name__} has no output layer of its own to take as default: name `weights`, a layer or a list of weights."
    )
