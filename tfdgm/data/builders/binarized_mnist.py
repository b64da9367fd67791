"""The fixed binarization of MNIST."""

import pathlib

import numpy as np

from tfdgm.data.builders.array_builder import ArrayBuilder
from tfdgm.data.data_error import DataError


# TFDS has an official set of this name, from text files on the network: ours is found by `tfdgm.data` alone.
class BinarizedMnist(ArrayBuilder, skip_registration=True):
    """MNIST, binarized once by sampling each pixel with its grey value as probability: 28 x 28 bits.

    The benchmark set of NADE, MADE and PixelRNN: 50,000 train, 10,000 validation and 10,000 test rows, levels
    0 and 1, no labels, not in MNIST's order. Never mix with dynamically binarized MNIST in one table.

    Source: Larochelle and Murray 2011, The Neural Autoregressive Distribution Estimator; MNIST's licence, CC
    BY-SA 3.0.
    """

    EVENT_SHAPE = (28, 28)
    LEVELS = 2
    HOMEPAGE = "http://proceedings.mlr.press/v15/larochelle11a.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    An .npz archive with the arrays train, valid and test; each row is numpy.packbits of the 784 pixels of one
    image. docs/data.md makes it of Larochelle's binarized_mnist_{train,valid,test}.amat, which are at
    http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/.
    """

    @classmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        return [data_dir / "binarized_mnist" / "binarized_mnist.npz"]

    def _arrays(self, paths):
        splits = {}
        with np.load(paths[0], allow_pickle=False) as file:
            for split, key in (("train", "train"), ("validation", "valid"), ("test", "test")):
                packed = file[key]
                if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != 98:
                    raise DataError(
                        f"{paths[0]}, array {key!r}: expected uint8 [n, 98]. Received: {packed.dtype} {packed.shape}."
                    )
                splits[split] = np.unpackbits(packed, axis=1).reshape(-1, 28, 28)
        return splits
