"""What our TFDS builders share: arrays from files in `manual_dir`, one row to an example."""

import abc
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from tfdgm.data import cache
from tfdgm.data.data_error import DataError


class ArrayBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A set of rows `x` of one shape, made of source files in `manual_dir` (our `data_dir`).

    A subclass gives `EVENT_SHAPE`, `LEVELS`, `HOMEPAGE` and `MANUAL_DOWNLOAD_INSTRUCTIONS`, and writes
    `source_files` and `_arrays`. Its docstring is the description. Rows keep their order; the hash of the
    source files is stored in the set's metadata as `sha256`.
    """

    VERSION = tfds.core.Version("1.0.0")
    EVENT_SHAPE = ()
    LEVELS = None
    HOMEPAGE = None

    @classmethod
    @abc.abstractmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        """The paths of all source files below `data_dir`."""

    @abc.abstractmethod
    def _arrays(self, paths):
        """{"train": x, "validation": x, "test": x}, each [n, *EVENT_SHAPE]."""

    def _info(self):
        integer = self.LEVELS is not None
        x = tfds.features.Tensor(
            shape=self.EVENT_SHAPE,
            dtype=np.uint8 if integer else np.float32,
            # Without it each byte would be stored as an int64.
            encoding=tfds.features.Encoding.BYTES if integer else tfds.features.Encoding.NONE,
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict({"x": x}),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        paths = type(self).source_files(dl_manager.manual_dir)
        self.info.metadata["sha256"] = cache.sha256_of(paths)
        try:
            arrays = self._arrays(paths)
        except DataError:
            raise
        except Exception as e:  # Whatever a reader raises on a damaged file.
            raise DataError(f"{self.name}: {', '.join(str(p) for p in paths[:2])} cannot be read: {e}") from None
        for split, x in arrays.items():
            if x.shape[1:] != self.EVENT_SHAPE or not len(x):
                raise DataError(
                    f"{self.name}, {split}: expected rows of shape {self.EVENT_SHAPE}, at least one. "
                    f"Received: shape {x.shape}, from {paths[0]}."
                )
        return {split: self._generate_examples(x) for split, x in arrays.items()}

    def _generate_examples(self, x):
        dtype = np.float32 if self.LEVELS is None else np.uint8
        for i, row in enumerate(x):
            yield i, {"x": row.astype(dtype)}


def split_tail(data: np.ndarray) -> dict[str, np.ndarray]:
    """MAF's split: the last tenth is test, the last tenth of the rest validation."""
    num_test = int(0.1 * len(data))
    rest, test = data[: len(data) - num_test], data[len(data) - num_test :]
    num_valid = int(0.1 * len(rest))
    return {"train": rest[: len(rest) - num_valid], "validation": rest[len(rest) - num_valid :], "test": test}


def normalise(splits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(x - mean) / std, per column, by the mean and standard deviation of train and validation together."""
    data = np.concatenate([splits["train"], splits["validation"]])
    mean, std = data.mean(axis=0), data.std(axis=0)
    return {split: (x - mean) / std for split, x in splits.items()}
