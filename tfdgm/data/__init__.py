"""Data sets and local files as (train, valid, test) `tf.data` pipelines, and as a stream of numpy batches.

    train, valid, test = tfdgm.data.load("digits", batch_size=128)
    for x in tfdgm.data.stream("rows/*.csv", batch_size=1000): ...

Importing this package imports neither TensorFlow, TensorFlow Datasets, scikit-learn nor pyarrow: each is
imported by the function that needs it.
"""

from tfdgm.data.data_error import DataError
from tfdgm.data.loading import files_of, load, load_arrays, pack, stream
from tfdgm.data.named import names
from tfdgm.data.splits import Splits

__all__ = ["DataError", "Splits", "files_of", "load", "load_arrays", "names", "pack", "stream"]
