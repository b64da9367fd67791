"""What Keras users train from beside arrays and tf.data, a `keras.utils.PyDataset` or an iterator of batches, as a tf.data."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def as_batch(data: Any) -> dict[str, Any]:
    """A batch as Keras knows them, a dict, x, (x, condition) or (x, condition, weight), as a dict of what is there."""
    x, condition, weight = keras.utils.unpack_x_y_sample_weight(data)
    given = {"condition": condition, "weight": weight, **(x if isinstance(x, Mapping) else {"x": x})}
    return {part: values for part, values in given.items() if values is not None}


def of_py_dataset(data: keras.utils.PyDataset, shuffle: bool = False) -> tf.data.Dataset:
    """Its batches, `workers` of them read at once; shuffled as a whole, anew each time, where `shuffle`."""
    count = data.num_batches
    if count == 0:
        raise ValueError("The PyDataset is empty: expected at least one batch.")
    first = as_batch(data[0])
    specs = _specs(first)

    def read(i):
        return [np.asarray(values, specs[part].dtype.as_numpy_dtype) for part, values in as_batch(data[int(i)]).items()]

    def batch(i):
        values = tf.numpy_function(read, [i], [spec.dtype for spec in specs.values()])
        return {part: tf.ensure_shape(value, specs[part].shape) for part, value in zip(specs, values, strict=True)}

    index = tf.data.Dataset.counter() if count is None else tf.data.Dataset.range(count)
    index = index.shuffle(count) if shuffle and count is not None else index
    return index.map(batch, num_parallel_calls=max(1, data.workers)).prefetch(tf.data.AUTOTUNE)


def of_iterator(batches: Iterator) -> tf.data.Dataset:
    """Its batches, once: a tf.data that is begun again goes on where it was, and fails where nothing is left."""
    first = next(batches, None)
    if first is None:
        raise ValueError("The iterator is empty: expected at least one batch.")
    specs, batches = _specs(as_batch(first)), itertools.chain([first], batches)

    def read():
        ended = True
        for batch in batches:
            ended = False
            yield {part: np.asarray(values, specs[part].dtype.as_numpy_dtype) for part, values in as_batch(batch).items()}
        if ended:
            raise ValueError("The iterator of batches has ended. For several epochs take a PyDataset or a tf.data.")

    return tf.data.Dataset.from_generator(read, output_signature=specs)


def peeked(batches: Iterator, rows: int = 65536) -> tuple[dict[str, np.ndarray], Iterator]:
    """The first rows of an iterator of batches, as one, and the iterator from its start."""
    seen, count = [], 0
    for batch in batches:
        seen.append(as_batch(batch))
        count += len(seen[-1]["x"])
        if count >= rows:
            break
    if not seen:
        raise ValueError("The iterator is empty: expected at least one batch.")
    return {part: np.concatenate([batch[part] for batch in seen]) for part in seen[0]}, itertools.chain(seen, batches)


def _specs(batch):
    arrays = {part: np.asarray(values) for part, values in batch.items()}
    return {part: tf.TensorSpec((None, *a.shape[1:]), a.dtype) for part, a in arrays.items()}
