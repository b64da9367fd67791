"""What users hand in -> checked rows. Each error names what was expected and what came."""

import collections.abc
import contextlib
import warnings

import keras
import numpy as np
import tensorflow as tf

from tfdgm._keras_compat import parts_of
from tfdgm.arguments import check_whole, checked_sizes, has_masked
from tfdgm.layers import moments


def plain(value):
    """Tuples and numpy values as plain Python ones, for configs."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def check_arguments(given):
    """A ValueError for what no model takes, of the arguments that mean the same in all."""
    for name in ("event_shape", "condition_shape"):
        if given.get(name) is not None:
            checked_sizes(name, given[name])
    if given.get("levels") is not None:
        check_whole(2, 2**31, levels=given["levels"])
    if "seed" in given:
        check_whole(0, 2**31 - 1, seed=given["seed"])


def is_eager(*values):
    """Whether all are concrete, and not tensors of a function being traced."""
    return tf.executing_eagerly() and not any(tf.is_tensor(v) and not hasattr(v, "numpy") for v in values)


def layers_and_variables(module):
    """Every Keras layer, and every tf.Variable outside them as a keras.Variable, held as attribute anywhere in a tf.Module.

    tf.Module's own search, in the order of attribute names, so that equal structures give equal lists.
    """
    parts = []
    for part in parts_of(module, lambda o: isinstance(o, (keras.layers.Layer, keras.Variable, tf.Variable))):
        if isinstance(part, tf.Variable):
            name = part.name.split(":")[0].replace("/", ".")  # Keras's names hold no slash, those of TensorFlow's layers do.
            part = keras.Variable(part, trainable=part.trainable, dtype=part.dtype.name, name=name)
        if not any(part is p for p in parts):
            parts.append(part)
    return parts


def build_layers(distribution):
    """Lets layers without weights yet (TFP's AutoregressiveNetwork before its first call) make them, so that they are found."""
    layers = parts_of(distribution, lambda part: isinstance(part, tf.Module) and getattr(part, "built", True) is False)
    if layers and None not in distribution.event_shape.as_list():
        distribution.log_prob(tf.zeros((1, *distribution.event_shape), distribution.dtype))
    for layer in layers:
        if not layer.built:
            raise ValueError(f"{type(layer).__name__} has no weights yet: build it, or call the distribution's log_prob, first.")


def column_names(x):
    """The names of a DataFrame's columns, or of a Series; None of arrays, and where two are the same."""
    names = x.columns if hasattr(x, "columns") else [x.name] if _is_series(x) and x.name is not None else ()
    names = tuple(name if isinstance(name, (str, int)) else str(name) for name in (plain(n) for n in names))
    return names if names and len(set(names)) == len(names) else None


def in_order(x, names, what):
    """x with its columns in the order of `names`, those of the training data; what has no names is as it is.

    A Series is one row, where its index holds the names. Names 0..D-1 are those of a DataFrame that was given none.
    """
    if names is None:
        return x
    if _is_series(x):
        received = tuple(x.index)
        if set(received) != set(names):
            received = (x.name,) if len(names) == 1 and isinstance(x.name, str) else None
    else:
        received = column_names(x)
    if received is None or received == tuple(names):
        return x
    if set(received) == set(names):
        return np.asarray(x)[..., [received.index(name) for name in names]]
    if tuple(range(len(received))) == received or tuple(range(len(names))) == tuple(names):
        return x
    raise ValueError(f"`{what}` must have the columns of the training data, {tuple(names)}, in any order. Received: {received}")


def _is_series(x):
    return hasattr(x, "name") and hasattr(x, "index") and hasattr(x, "to_numpy")


def check_x(x, event_shape, levels, dtype, name="x"):
    """x as an array of the model's dtype (int32 for `levels`), or a ValueError."""
    x = _numeric(x, name)
    if x.shape[x.ndim - len(event_shape) :] != event_shape or x.ndim < len(event_shape):
        raise ValueError(f"`{name}` must end in event_shape={event_shape}. Received: {name}.shape={x.shape}")
    if levels is None:
        if not np.isfinite(x).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise ValueError(f"`{name}` must be finite. Received: {x[where]} at index {where}")
        with np.errstate(over="ignore"):
            cast = x.astype(dtype)
        if not np.isfinite(cast).all():
            raise ValueError(f"`{name}` must fit in {dtype}. Received: values up to {np.abs(x).max()}")
        return cast
    if x.dtype.kind == "f" and not (x == np.floor(x)).all():
        bad = x[x != np.floor(x)].flat[0]
        raise ValueError(f"`{name}` must hold integers 0..{levels - 1}. Received: {bad}")
    if x.size and (x.min() < 0 or x.max() > levels - 1):
        raise ValueError(f"`{name}` must hold integers 0..{levels - 1}. Received: values from {x.min()} to {x.max()}")
    return x.astype(np.int32)


def check_condition(condition, condition_shape, batch, dtype):
    """`condition` broadcast to [*batch, *condition_shape] and flattened to rows, or None where the model takes none."""
    if condition_shape is None:
        if condition is not None:
            raise ValueError("This model takes no `condition` (condition_shape=None). Received one.")
        return None
    if condition is None:
        raise ValueError(f"This model needs a `condition` that ends in condition_shape={condition_shape}. Received: None")
    condition = _numeric(condition, "condition").astype(dtype)
    try:
        condition = np.broadcast_to(condition, (*batch, *condition_shape))
    except ValueError:
        raise ValueError(
            f"`condition` must have shape {(*batch, *condition_shape)} or {condition_shape}. "
            f"Received: condition.shape={condition.shape}"
        ) from None
    if not np.isfinite(condition).all():
        raise ValueError("`condition` must be finite. Received: NaN or infinity")
    return condition.reshape((-1, *condition_shape))


def check_known(known, shape, event_shape):
    """`known`, 0 or 1, of x's shape or broadcast to it from event_shape, as int32."""
    known = _numeric(known, "known")
    if known.shape not in (shape, event_shape):
        also = "" if shape == event_shape else f", or event_shape={event_shape}"
        raise ValueError(f"`known` must have the shape of `x`, {shape}{also}. Received: known.shape={known.shape}")
    if not np.isin(known, (0, 1)).all():
        raise ValueError(f"`known` must hold 0 (to be drawn) and 1 (kept). Received: {known[~np.isin(known, (0, 1))].flat[0]}")
    return np.broadcast_to(known, shape).astype(np.int32)


def _numeric(x, name):
    if has_masked(x):
        raise ValueError(f"`{name}` must have no masked entries. Received: a numpy.ma array with some; fill or drop them first.")
    try:
        x = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`{name}` must be an array of numbers. Received: {type(x).__name__} ({error})") from None
    if x.dtype.kind not in "fiub" and x.dtype.name != "bfloat16":
        raise ValueError(f"`{name}` must hold numbers. Received: dtype={x.dtype}")
    return x


def training_data(model, x, condition=None, name="x"):
    """Checked data for Keras: a tf.data as it came but for checks inside, or (x, condition) arrays."""
    if isinstance(x, (keras.utils.PyDataset, collections.abc.Iterator)):
        raise ValueError(
            f"`{name}` must be an array or a tf.data. Received: a {type(x).__name__}; tf.data.Dataset.from_generator makes a "
            "tf.data of it."
        )
    if not isinstance(x, tf.data.Dataset):
        x = check_x(in_order(x, model.column_names, name), model.event_shape, model.levels, model.compute_dtype, name)
        if x.ndim != 1 + len(model.event_shape):
            raise ValueError(f"`{name}` must have shape [n, *{model.event_shape}]. Received: {name}.shape={x.shape}")
        if not len(x):
            raise ValueError(f"`{name}` must hold at least one row. Received: {name}.shape={x.shape}")
        condition = in_order(condition, model.condition_names, "condition")
        condition = check_condition(condition, model.condition_shape, x.shape[:1], model.compute_dtype)
        return x, condition

    if condition is not None:
        raise ValueError(f"With a tf.data as `{name}`, put the condition inside: batches of (x, condition).")
    spec = x.element_spec
    specs = spec if isinstance(spec, tuple) else (spec,)
    expected = [("x", model.event_shape)]
    expected += [("condition", model.condition_shape)] if model.condition_shape is not None else []
    if len(specs) != len(expected):
        wanted = "batches of (x, condition)" if len(expected) == 2 else "batches of x"
        raise ValueError(f"`{name}` must be a tf.data of {wanted}. Received: element_spec={spec}")
    for (part, shape), got in zip(expected, specs, strict=True):
        if not (got.dtype.is_floating or got.dtype.is_integer or got.dtype.is_bool):
            raise ValueError(f"`{name}`: {part} must hold numbers. Received: dtype={got.dtype.name}")
        if not got.shape.is_compatible_with((None, *shape)):
            raise ValueError(f"`{name}`: batches of {part} must have shape (None, {str(shape)[1:]}. Received: {got.shape}")

    def check(x, *condition):
        if model.levels is None:
            x = tf.cast(x, model.compute_dtype)
            finite = tf.reduce_all(tf.math.is_finite(x))
            checks = [tf.debugging.Assert(finite, [f"`{name}` must be finite. Received: NaN or infinity"])]
        else:
            whole = tf.cast(x, tf.int32)
            ok = tf.reduce_all((whole >= 0) & (whole < model.levels) & (x == tf.cast(whole, x.dtype)))
            text = f"`{name}` must hold integers 0..{model.levels - 1}. Received:"
            checks = [tf.debugging.Assert(ok, [text, tf.reduce_min(x), "to", tf.reduce_max(x)])]
            x = whole
        condition = [tf.cast(c, model.compute_dtype) for c in condition]
        checks += [tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(c)), ["`condition` must be finite."]) for c in condition]
        with tf.control_dependencies(checks):
            x = tf.identity(x)
        return (x, *condition) if condition else x

    return x.map(check, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def some_rows(data, count):
    """Up to `count` rows (x, condition or None) of what `training_data` returned: of arrays any, of a tf.data the first."""
    if not isinstance(data, tf.data.Dataset):
        x, condition = data
        rows = np.sort(np.random.default_rng(0).permutation(len(x))[:count])
        return x[rows], None if condition is None else condition[rows]
    parts, total = [], 0
    for batch in data:
        parts.append(batch if isinstance(batch, tuple) else (batch, None))
        total += len(parts[-1][0])
        if total >= count:
            break
    if not parts:
        raise ValueError("The tf.data is empty: expected at least one batch.")
    x = np.concatenate([x.numpy() for x, _ in parts])[:count]
    return x, None if parts[0][1] is None else np.concatenate([c.numpy() for _, c in parts])[:count]


def warn_of_constants(x):
    """Warns of dimensions of x [n, *event_shape] that its dtype knows as one value, or as a few: no density can be learned."""
    deviation = np.atleast_1d(moments(x)[1])
    few = 100 * float(np.spacing(np.ones((), x.dtype)))
    places = np.argwhere(deviation <= few * np.abs(np.atleast_1d(x[0])))
    if len(x) > 1 and len(places):
        first = tuple(places[0])
        more = f" So do others, {len(places)} in all." if len(places) > 1 else ""
        warnings.warn(
            f"x[:, {', '.join(map(str, first))}] varies too little for {x.dtype}: standard deviation {deviation[first]:.3g}, at "
            f"values like {np.atleast_1d(x[0])[first]:.9g}. Subtract an offset from it, or leave it out: its density means "
            f"nothing.{more}",
            stacklevel=3,
        )


def split_rows(data, fraction):
    """(training, validation) arrays: the last `fraction` of the rows validate, as in Keras."""
    if isinstance(data, tf.data.Dataset):
        raise ValueError("`validation_split` needs arrays. Received: a tf.data; pass validation_data instead.")
    n = len(data[0])
    at = n - int(n * fraction)
    if not 0 < at < n:
        raise ValueError(f"`validation_split` must leave rows to both parts. Received: validation_split={fraction} of {n} rows")
    return tuple(tuple(None if a is None else a[part] for a in data) for part in (slice(None, at), slice(at, None)))


def full_batches(data, batch_size, shuffle):
    """A tf.data over arrays, in batches of one size, for XLA compiles anew for every size: each epoch leaves out another rest."""
    n, batch_size = len(data[0]), _batch_size(batch_size)
    rows = tf.data.Dataset.range(n)
    rows = rows.shuffle(n, reshuffle_each_iteration=True) if shuffle else rows
    arrays = [tf.constant(a) for a in data if a is not None]

    def take(index):
        taken = tuple(tf.gather(a, index) for a in arrays)
        return taken if len(taken) > 1 else taken[0]

    return rows.batch(batch_size, drop_remainder=n >= batch_size).map(take).prefetch(tf.data.AUTOTUNE)


def batches(data, batch_size=None, steps=None):
    """What `training_data` returned as a tf.data of batches in order, `steps` of them or all. (Keras makes float32 of arrays.)"""
    if not isinstance(data, tf.data.Dataset):
        arrays = tuple(a for a in data if a is not None)
        data = tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(_batch_size(batch_size))
    return data if steps is None else data.take(steps)


def _batch_size(batch_size):
    """Keras's default where it is None."""
    batch_size = 32 if batch_size is None else batch_size
    check_whole(batch_size=batch_size)
    return batch_size


def refuse(kwargs, *names):
    """A ValueError for arguments of Keras that have no meaning here."""
    for name in names:
        if kwargs.get(name) is not None:
            raise ValueError(f"`{name}` is not supported: the loss is the mean negative log-likelihood of x.")


def unpack(data):
    """(x, condition or None) of a Keras batch: x, (x,), (x, condition) or (x, condition, sample weights)."""
    x, condition, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is not None:
        raise ValueError("`sample_weight` is not supported: the loss is the mean negative log-likelihood.")
    return x, condition


@contextlib.contextmanager
def readable_errors():
    """Turns a check that failed inside a tf.data pipeline into a ValueError with its own message."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        start = error.message.find("assertion failed: [")
        if start < 0:
            raise
        text = error.message[start + len("assertion failed: [") :].split("\n")[0].split("[[")[0]
        raise ValueError(text.strip().rstrip("]").replace("] [", " ")) from None
