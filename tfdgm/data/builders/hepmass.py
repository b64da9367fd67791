"""HEPMASS, as MAF prepares it."""

import csv
import pathlib

import numpy as np

from tfdgm.data.builders.array_builder import ArrayBuilder
from tfdgm.data.data_error import DataError


class Hepmass(ArrayBuilder):
    """Features of simulated particle collisions that made a particle of mass 1000: 21 real columns.

    MAF's preparation (Papamakarios et al. 2017, arXiv:1705.07057, appendix D; its datasets/hepmass.py):
    signal rows alone (label 1), normalised by the mean and standard deviation of the training file, as in
    MAF: published figures are in these units. A column goes where its smallest value comes more than 5 times
    in the training file. (The paper says "too many re-occurring values"; its code counts the smallest value
    alone, and so do we.) The last tenth of the training file is validation; with MAF's files 315,123 / 35,013
    / 174,987 rows.

    Source: UCI repository, HEPMASS, CC BY 4.0.
    """

    EVENT_SHAPE = (21,)
    HOMEPAGE = "https://zenodo.org/record/1161203"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    MAF's archive, https://zenodo.org/record/1161203, holds hepmass/1000_train.csv and hepmass/1000_test.csv.
    """

    @classmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        return [data_dir / "hepmass" / "1000_train.csv", data_dir / "hepmass" / "1000_test.csv"]

    def _arrays(self, paths):
        with open(paths[0], newline="") as file:
            width = len(next(csv.reader(file), []))
        if width < 2:
            raise DataError(f"{paths[0]}: expected a header of a label and features. Received: {width} columns.")
        # The test file's header names one column more, of which the rows know nothing.
        train, test = (_signal(path, width) for path in paths)
        mean, std = train.mean(axis=0), train.std(axis=0, ddof=1)  # pandas' std divides by n - 1.
        train, test = (train - mean) / std, (test - mean) / std
        keep = np.sum(train == train.min(axis=0), axis=0) <= 5
        train, test = train[:, keep], test[:, keep]
        num_valid = int(0.1 * len(train))
        at = len(train) - num_valid
        return {"train": train[:at], "validation": train[at:], "test": test}


def _signal(path, width):
    """The features [n, width - 1] of the rows whose first column is 1."""
    data = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(width), ndmin=2)
    return data[data[:, 0] == 1.0, 1:]
