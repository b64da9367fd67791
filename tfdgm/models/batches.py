"""Training data as users hand it in -> batches: dicts of "x" [n, *event_shape], "condition" where the model takes one,
"known" where entries may be missing, "weight" [n] where rows have one. Each error names what was expected and what came."""

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm.arguments import check_whole
from tfdgm.columns import in_order
from tfdgm.distributions.known_entries import known_entries
from tfdgm.event import Event, numbers
from tfdgm.layers import moments
from tfdgm.models import batch_sources
from tfdgm.models.arguments import check_known
from tfdgm.models.batch_sources import as_batch


def training_data(
    model: keras.Model,
    x: Any,
    condition: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    *,
    name: str = "x",
    shuffle: bool = False,
) -> dict[str, np.ndarray] | tf.data.Dataset:
    """Checked data: a dict of arrays [n, ...], or a tf.data of such batches, which are checked as they come.

    x: an array [n, *event_shape]; a dict of x, condition, known and weight; or batches of x, (x, condition),
    (x, condition, weight) or of dicts: a tf.data, an iterator, a `keras.utils.PyDataset` (shuffled anew each time, or not).
    """
    known = None
    if isinstance(x, keras.utils.PyDataset):
        x = batch_sources.of_py_dataset(x, shuffle)
    elif isinstance(x, Iterator):
        x = batch_sources.of_iterator(x)
    if isinstance(x, tf.data.Dataset):
        if condition is not None or weight is not None:
            part = "weight" if condition is None else "condition"
            raise ValueError(f"With batches as `{name}`, put the {part} inside: (x, condition, weight), or dicts.")
        return _checked_dataset(model, x, name)
    if isinstance(x, Mapping):
        weight = x.get("weight", weight)
        x, condition, known = (x.get(part) for part in ("x", "condition", "known"))
    x, known = in_order(x, model.column_names, name), in_order(known, model.column_names, "known")
    rows = {"x": model.event.check(x, model.compute_dtype, name)}
    shape = rows["x"].shape
    if len(shape) != 1 + len(model.event_shape):
        raise ValueError(f"`{name}` must have shape [n, *{model.event_shape}]. Received: {name}.shape={shape}")
    if not shape[0]:
        raise ValueError(f"`{name}` must hold at least one row. Received: {name}.shape={shape}")
    rows["condition"] = model.check_condition(condition, shape[:1])
    rows["known"] = check_known(model, x, known)
    rows["weight"] = None if weight is None else _check_weight(weight, shape[0], model.compute_dtype)
    return {part: values for part, values in rows.items() if values is not None}


def _check_weight(weight, n, dtype):
    weight = numbers(weight, "sample_weight").astype(dtype)
    if weight.shape not in ((n,), (n, 1)):
        raise ValueError(f"`sample_weight` must have one number a row, shape ({n},). Received: shape {weight.shape}")
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise ValueError(f"`sample_weight` must be finite and not negative. Received: {weight.flat[bad[0]]} in row {bad[0]}")
    if not weight.any():
        raise ValueError("`sample_weight` must have a row above 0. Received: zeros")
    return weight.reshape(n)


def _checked_dataset(model, data, name):
    if not isinstance(data.element_spec, dict):
        data = data.map(lambda *batch: as_batch(batch))
    spec, wanted = data.element_spec, ["x"] + (["condition"] if model.condition_shape is not None else [])
    allowed = [*wanted, *(["known"] if model.event.missing else []), "weight"]
    if not set(wanted) <= set(spec) <= set(allowed):
        batch = "(x, condition)" if len(wanted) == 2 else "x"
        raise ValueError(
            f"`{name}` must be a tf.data of batches of {batch}, or of dicts with {allowed} (weight may be missing). "
            f"Received: {', '.join(f'{part} {got.shape}' for part, got in spec.items())}"
        )
    shapes = {"x": model.event_shape, "condition": model.condition_shape, "known": model.event_shape, "weight": ()}
    for part, got in spec.items():
        if not (got.dtype.is_floating or got.dtype.is_integer or got.dtype.is_bool):
            raise ValueError(f"`{name}`: {part} must hold numbers. Received: dtype={got.dtype.name}")
        if not got.shape.is_compatible_with((None, *shapes[part])):
            raise ValueError(f"`{name}`: batches of {part} must have shape {(None, *shapes[part])}. Received: {got.shape}")
    data = data.map(lambda batch: _checked_batch(model, batch, name), num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)


def _checked_batch(model, batch, name):
    """A batch in the model's dtypes, with an error in it for what is no event."""
    event, x = model.event, batch["x"]
    if event.missing:
        x, known = known_entries(x, batch.get("known"))
        batch = {**batch, "known": known}
    values = x if x.dtype.is_floating else tf.cast(x, tf.int64)
    ok = tf.reduce_all(event.are_levels(values))
    if event.levels is None:
        text = [f"`{name}` must be finite. Received: NaN or infinity"]
    elif isinstance(event.levels, tuple):
        text = [f"`{name}` must be finite, and hold integers 0..L-1 in columns of levels L, of {event.levels}."]
    else:
        text = [f"`{name}` must hold integers 0..{event.levels - 1}. Received:", tf.reduce_min(x), "to", tf.reduce_max(x)]
    x = tf.cast(x, model.distribution.dtype)
    ok = ok & tf.reduce_all(tf.math.is_finite(x)) if x.dtype.is_floating else ok
    checks = [tf.debugging.Assert(ok, text)]
    if "condition" in batch:
        condition = tf.cast(batch["condition"], model.compute_dtype)
        checks.append(tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(condition)), ["`condition` must be finite."]))
        batch = {**batch, "condition": condition}
    if "weight" in batch:
        weight = tf.cast(batch["weight"], model.compute_dtype)
        ok = tf.reduce_all(tf.math.is_finite(weight) & (weight >= 0))
        checks.append(tf.debugging.Assert(ok, ["`weight` must be finite and not negative."]))
        batch = {**batch, "weight": weight}
    with tf.control_dependencies(checks):
        return {**batch, "x": tf.identity(x)}


def for_adapting(data: dict | tf.data.Dataset) -> Iterable[dict]:
    """Batches of what `training_data` returned for `Distribution.adapt`: all, but of a tf.data that has no known end as many as
    have 65,536 rows."""
    if not isinstance(data, tf.data.Dataset):
        return [data]
    return data if data.cardinality() >= 0 else _first_batches(data, 65536)


def _first_batches(data, count):
    total = 0
    for batch in data:
        yield batch
        total += len(batch["x"])
        if total >= count:
            return


def warn_of_columns(x: np.ndarray, event: Event, names: Sequence[str | int] | None = None) -> None:
    """Warns of real dimensions of x [n, *event_shape] of which no density can be learned: those that its dtype knows as one
    value, or as a few, and those whose values repeat, as integers do, onto which a density collapses."""
    x = x.reshape(len(x), -1)
    names = names if names and len(names) == x.shape[1] else None
    levels = event.levels if isinstance(event.levels, tuple) else (event.levels,) * x.shape[1]
    real = np.array([of_column is None for of_column in levels])
    deviation = np.atleast_1d(moments(x)[1])
    few = 100 * float(np.spacing(np.ones((), x.dtype)))
    constant = real & (len(x) > 1) & (deviation <= few * np.abs(x[0]))
    if constant.any():
        i = int(np.argmax(constant))
        warnings.warn(
            f"{_column(i, event.shape)} varies too little for {x.dtype}: standard deviation {deviation[i]:.3g}, at values like "
            f"{x[0, i]:.9g}. Subtract an offset from it, or leave it out: its density means nothing.{_others(constant)}",
            stacklevel=4,
        )
    repeats = real & ~constant & (not event.missing) & _repeats(x[:: -(-len(x) // 10_000)])
    if repeats.any():
        listed = [f"{_column(i, event.shape)}{f' ({names[i]})' if names else ''}" for i in np.flatnonzero(repeats)[:3]]
        warnings.warn(
            f"The values of {', '.join(listed)} repeat, as integers do: a density collapses onto them, and its likelihood means "
            "nothing. Flows take integers 0..L-1 by levels=(None, 100, ...), one for each column, `tfdgm train` by --integers. "
            f"Noise as wide as their steps makes real ones of other values.{_others(repeats, len(listed))}",
            stacklevel=4,
        )


def _repeats(x):
    """Of each column of x [n, d], whether most of 20 rows or more are integers or on a grid, or many are one value."""
    n = len(x)
    if n < 20:
        return np.zeros(x.shape[1], bool)
    x = np.sort(x, axis=0)
    new = np.concatenate([np.ones((1, x.shape[1]), bool), x[1:] != x[:-1]])
    distinct = new.sum(axis=0)
    step = max(5, n // 20)  # So many equal ones in a row are a twentieth of all.
    atom = (x[step:] == x[:-step]).any(axis=0)
    return ((x == np.floor(x)).all(axis=0) & (distinct < n)) | (distinct <= n / 10) | atom


def _column(i, shape):
    return f"x[:, {', '.join(map(str, np.unravel_index(i, shape or (1,))))}]"


def _others(which, named=1):
    count = int(which.sum())
    return f" So do others, {count} in all." if count > named else ""


def split_rows(data: dict | tf.data.Dataset, fraction: float) -> tuple[dict, dict]:
    """(training, validation) arrays: the last `fraction` of the rows validate, as in Keras."""
    if isinstance(data, tf.data.Dataset):
        raise ValueError("`validation_split` needs arrays. Received: a tf.data; pass validation_data instead.")
    n = len(data["x"])
    at = n - int(n * fraction)
    if not 0 < at < n:
        raise ValueError(f"`validation_split` must leave rows to both parts. Received: validation_split={fraction} of {n} rows")
    return tuple({name: a[part] for name, a in data.items()} for part in (slice(None, at), slice(at, None)))


def full_batches(data: dict, batch_size: int | None, shuffle: bool) -> tf.data.Dataset:
    """A tf.data over arrays, in batches of one size, for XLA compiles anew for every size: each epoch leaves out another rest."""
    n, batch_size = len(data["x"]), _batch_size(batch_size)
    rows = tf.data.Dataset.range(n)
    rows = rows.shuffle(n, reshuffle_each_iteration=True) if shuffle else rows
    arrays = {name: tf.constant(a) for name, a in data.items()}
    batches = rows.batch(batch_size, drop_remainder=n >= batch_size)
    return batches.map(lambda index: {name: tf.gather(a, index) for name, a in arrays.items()}).prefetch(tf.data.AUTOTUNE)


def batches(data: dict | tf.data.Dataset, batch_size: int | None = None, steps: int | None = None) -> tf.data.Dataset:
    """What `training_data` returned as a tf.data of batches in order, `steps` of them or all. (Keras makes float32 of arrays.)"""
    if not isinstance(data, tf.data.Dataset):
        data = tf.data.Dataset.from_tensor_slices(data).batch(_batch_size(batch_size))
    return data if steps is None else data.take(steps)


def _batch_size(batch_size):
    """Keras's default where it is None."""
    batch_size = 32 if batch_size is None else batch_size
    check_whole(batch_size=batch_size)
    return batch_size


def refuse(kwargs: dict[str, Any], *names: str) -> None:
    """A ValueError for arguments of Keras that have no meaning here."""
    for name in names:
        if kwargs.get(name) is not None:
            raise ValueError(f"`{name}` is not supported: the loss is the mean negative log-likelihood of x.")


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turns a check that failed inside a tf.data pipeline into a ValueError with its own message."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if of_python := re.search(r"ValueError: (.*)", error.message):  # From within a PyDataset or a generator.
            raise ValueError(of_python[1]) from None
        start = error.message.find("assertion failed: [")
        if start < 0:
            raise
        text = error.message[start + len("assertion failed: [") :].split("\n")[0].split("[[")[0]
        raise ValueError(text.strip().rstrip("]").replace("] [", " ")) from None
