import json
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdgm.layers import exporting, premask


def signatures(model: keras.Model, sampler: tfd.Distribution | None = None, stored: Sequence[tuple] = ()) -> dict[str, Callable]:
    """The functions of a SavedModel, by name. Every input and output has the batch axis first.

    | name | inputs | outputs |
    |---|---|---|
    | `log_prob` = `serving_default` | `x` [n, *event]; `known` where entries may be missing | `log_prob` [n], nats |
    | `sample` | `seed` int32 [n, 2] | `x` [n, *event]; row i depends on seed i alone |
    | `encode`, `decode` (flows) | `x` / `z` [n, *latent]; mostly [n, *event] | `z`, `log_det` [n] / `x` |
    | `complete` (autoregressive) | `x`, `known` [n, *event], `seed` | `x`, kept where `known` is not 0 |
    | `describe` (columns with names) | `row` int32 [n] | `json` [n], the same text in each: `column_names`, `condition_names` |

    Models with a condition take `condition` [n, *condition_shape] as well, but not in `describe`. A number that is not finite is
    an error (InvalidArgument), and no row of that call gets a score. An integer that is none of the model's levels has the
    log_prob -infinity, so that a server's batch of several requests stays whole, and is an error elsewhere.

    Args:
      model: a `DensityModel`.
      sampler: the distribution that `sample` draws from; the model's own by default.
      stored: pairs (weight of the model, tf.Variable of another dtype): the functions read the variable, cast to the weight's
        dtype once a call, and not the weight.
    """
    distribution = model.distribution
    sampler = distribution if sampler is None else sampler
    premask(model)

    def log_prob(x, known=None, condition=None):
        return {"log_prob": distribution.log_prob_of_rows(x, condition, known=known)}

    def sample(seed, condition=None):
        return {"x": sampler.from_noise(sampler.draw_noise(seed), condition)}

    names = {"column_names": model.column_names, "condition_names": model.condition_names}

    def describe(row):
        # One text a row: the server joins requests to batches, of every signature.
        return {"json": tf.fill(tf.shape(row), json.dumps(names))}

    known = {"known": tf.TensorSpec(distribution.event_spec.shape, tf.int32)} if distribution.event.missing else {}
    functions = {
        "log_prob": (log_prob, {"x": distribution.event_spec, **known}),
        "sample": (sample, {"seed": tf.TensorSpec((None, 2), tf.int32)}),
        **distribution.functions(),
    }
    if model.condition_shape is not None:
        condition = tf.TensorSpec((None, *model.condition_shape), model.compute_dtype)
        functions = {name: (f, {**specs, "condition": condition}) for name, (f, specs) in functions.items()}
    if any(names.values()):
        functions["describe"] = (describe, {"row": tf.TensorSpec((None,), tf.int32)})

    with exporting():
        traced = {
            name: _trace(function, specs, None if name == "log_prob" else model.levels, stored)
            for name, (function, specs) in functions.items()
        }
    return {"serving_default": traced["log_prob"], **traced}


def _trace(function, specs, levels, stored):
    def with_stored(**inputs):
        # A server takes any tensor for a placeholder; reshapes inside would make rows of it.
        inputs = {name: _checked(name, tf.ensure_shape(value, specs[name].shape), levels) for name, value in inputs.items()}
        if not stored:
            return function(**inputs)
        with keras.StatelessScope(state_mapping=[(weight, tf.cast(kept, weight.dtype)) for weight, kept in stored]):
            return function(**inputs)

    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()}
    return tf.function(with_stored, autograph=False).get_concrete_function(**specs)


def _checked(name, value, levels):
    """`value`, once it is seen to be finite, or of x to hold `levels`, if any."""
    if value.dtype.is_floating:
        ok = tf.reduce_all(tf.math.is_finite(value))
        text = [f"`{name}` must be finite. Received: NaN or infinity"]
    elif name == "x" and levels:
        low, high = tf.reduce_min(value), tf.reduce_max(value)
        ok = tf.equal(tf.size(value), 0) | ((low >= 0) & (high < levels))
        text = [f"`{name}` must hold integers 0..{levels - 1}. Received: values from", low, "to", high]
    else:
        return value
    with tf.control_dependencies([tf.debugging.Assert(ok, text)]):
        return tf.identity(value)
