"""What `tfdgm.data.load` returns."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfdgm.data.content import Part
from tfdgm.event import Event

if TYPE_CHECKING:
    import tensorflow as tf

# Up to this size a split is copied into memory once; above it, batches are read from the memory-mapped file.
_RESIDENT_BYTES = 512 * 2**20
# Rows that are shuffled together. A larger split is also permuted once, so nothing stays in file order.
_SHUFFLE_ROWS = 2**20


class Splits:
    """Three splits of one data set: `train, valid, test = splits`.

    Each is a finite, re-iterable `tf.data.Dataset` of batches: dicts of "x" [n, *event_shape] and, where there is one,
    "condition" [n, *condition_shape]; "weight" [n], of mean 1 over train, where rows have weights.

    Attributes:
      name: the data set's name, or the path it came from.
      event: what one row is, a `tfdgm.event.Event`; its `event_shape` and `levels` (2, 17, 256, ..., or None for real values).
      dtype: of x: "int32" for integers 0..levels-1; for real values "float32", or "float64" where that was asked for.
      condition_shape: tuple, the shape of one row's condition, or None.
      num_train, num_valid, num_test: rows of each split.
      sha256: hash of the source's bytes, hex.
      description: one or two sentences on what this is, for cards and logs.
      columns: names of a table's columns, without those of the condition, or None.
      classes: names of the classes where the condition is one-hot and they are known, or None.
      excerpt_of: how many rows the whole test split has, where test is an excerpt of it; else None.
    """

    def __init__(
        self,
        train: "tf.data.Dataset",
        valid: "tf.data.Dataset",
        test: "tf.data.Dataset",
        *,
        name: str,
        event: Event,
        dtype: str,
        condition_shape: Sequence[int] | None,
        num_rows: Sequence[int],
        sha256: str,
        description: str,
        columns: Sequence[str] | None,
        classes: Sequence[str] | None,
        excerpt_of: int | None,
        train_epochs: Callable,
    ):
        self.train, self.valid, self.test = train, valid, test
        self._train_epochs = train_epochs
        self.name = name
        self.event, self.event_shape, self.levels = event, event.shape, event.levels
        self.dtype = dtype
        self.condition_shape = condition_shape
        self.num_train, self.num_valid, self.num_test = num_rows
        self.sha256 = sha256
        self.description = description
        self.columns = columns
        self.classes = classes
        self.excerpt_of = excerpt_of

    def train_epochs(self, first: int, last: int) -> "tf.data.Dataset":
        """The batches of train, shuffled, for the epochs first..last-1 one after another.

        For `fit` with `steps_per_epoch`. The order within an epoch depends on its number and the seed alone, so
        a training that is interrupted goes on as if it had not been. (The order of `train` depends on how often
        it was iterated before.)
        """
        return self._train_epochs(first, last)

    def __iter__(self):
        return iter((self.train, self.valid, self.test))

    def __repr__(self):
        return (
            f"Splits(name={self.name!r}, event_shape={self.event_shape}, dtype={self.dtype!r}, "
            f"levels={self.levels}, condition_shape={self.condition_shape}, num_train={self.num_train}, "
            f"num_valid={self.num_valid}, num_test={self.num_test})"
        )


def make_dataset(
    part: Part, *, dtype: str, condition_dtype: str, batch_size: int | None, shuffle: bool, seed: int
) -> "tf.data.Dataset":
    """A `tf.data.Dataset` over a `Part`: row numbers are shuffled and batched, then the rows are gathered.

    Working on row numbers keeps the per-row cost to one integer, whatever the event's size.
    """
    import tensorflow as tf

    rows = part.rows
    if shuffle and len(rows) > _SHUFFLE_ROWS:
        rows = np.random.RandomState(seed).permutation(rows)
    dataset = tf.data.Dataset.range(len(rows))
    if shuffle and len(rows):
        dataset = dataset.shuffle(min(len(rows), _SHUFFLE_ROWS), seed=seed, reshuffle_each_iteration=True)
    gather = _gather_all(part, rows, dtype, condition_dtype)
    dataset = dataset.batch(batch_size or 256).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    if batch_size is None:
        dataset = dataset.unbatch().apply(tf.data.experimental.assert_cardinality(len(rows)))
    return dataset.prefetch(tf.data.AUTOTUNE)


def make_epochs(part: Part, *, dtype: str, condition_dtype: str, batch_size: int | None, seed: int) -> Callable:
    """`Splits.train_epochs` over a `Part`."""
    import tensorflow as tf

    def epochs(first, last):
        def shuffled(epoch):
            numbers = tf.range(len(part.rows), dtype=tf.int64)
            order = tf.random.experimental.stateless_shuffle(numbers, (tf.constant(seed, tf.int64), epoch))
            return tf.data.Dataset.from_tensor_slices(order).batch(batch_size or 256)

        gather = _gather_all(part, part.rows, dtype, condition_dtype)
        dataset = tf.data.Dataset.range(first, last).flat_map(shuffled).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE)

    return epochs


def _gather_all(part, rows, dtype, condition_dtype):
    """A function from positions within `rows` to a batch."""
    gather = {"x": _gather(part.x, rows, dtype)}
    if part.condition is not None:
        gather["condition"] = _gather(part.condition, rows, condition_dtype)
    if part.weight is not None:
        gather["weight"] = _gather(part.weight, rows, condition_dtype)
    return lambda i: {name: of_rows(i) for name, of_rows in gather.items()}


def _gather(array, rows, dtype):
    """A function from positions within `rows` [n] to values [n, *array.shape[1:]] of `dtype`."""
    import tensorflow as tf

    if len(rows) * array[:1].nbytes <= _RESIDENT_BYTES:
        values = np.asarray(array[rows])
        if values.dtype not in (np.uint8, np.int32, np.float32):
            values = values.astype(np.uint8 if values.dtype == bool else dtype, copy=False)
        with tf.device("CPU:0"):
            values = tf.constant(values)
        return lambda i: tf.cast(tf.gather(values, i), dtype)

    def read(i):
        return array[rows[i]].astype(dtype)

    def gather(i):
        x = tf.numpy_function(read, [i], dtype, stateful=False)
        x.set_shape([None, *array.shape[1:]])
        return x

    return gather
