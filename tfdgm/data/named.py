"""The names of data sets, and the nearest to a name that is none."""

import importlib
import re
from collections.abc import Sequence

from tfdgm.data.data_error import DataError
from tfdgm.unknown_name import did_you_mean

# name: module of tfdgm.data.builders, class
BUILDERS = {
    "binarized_mnist": ("binarized_mnist", "BinarizedMnist"),
    "bsds300": ("bsds300", "Bsds300"),
    "bsds300_patches": ("bsds300_patches", "Bsds300Patches"),
    "gas": ("gas", "Gas"),
    "hepmass": ("hepmass", "Hepmass"),
    "miniboone": ("miniboone", "Miniboone"),
    "power": ("power", "Power"),
}
_TFDS = (
    "mnist",
    "fashion_mnist",
    "kmnist",
    "emnist",
    "cifar10",
    "cifar100",
    "svhn_cropped",
    "imagenet_resized/32x32",
)


def names() -> list[str]:
    """The named data sets: the embedded one, our own builders, and some image sets of TensorFlow Datasets.

    Any other TFDS name with an `image` feature works as well.
    """
    return ["digits", *BUILDERS, *_TFDS]


def is_name(source: str) -> bool:
    """Whether a source has the form of a name: `mnist`, `tfds:mnist`, `emnist/letters`, `mnist:3.0.1`."""
    return re.fullmatch(r"(tfds:)?[a-z][a-z0-9_]*(/[\w.\-]+)?(:[\d.*]+)?", source) is not None


def own_builder(name: str) -> type:
    """One of our TFDS builder classes."""
    module, cls = BUILDERS[name]
    return getattr(importlib.import_module(f"tfdgm.data.builders.{module}"), cls)


def unknown(name: str, more: Sequence[str] = ()) -> DataError:
    """The error for a name that is no data set and no file. `more` are further names to compare with."""
    hint = did_you_mean(name, [*names(), *more])
    return DataError(
        f"There is no data set and no file {name!r}.{hint} Known data sets: {', '.join(names())}; "
        f"any other name of TensorFlow Datasets; or a file, a glob or a folder."
    )
