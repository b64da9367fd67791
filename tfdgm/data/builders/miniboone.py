"""MINIBOONE, as MAF prepares it."""

import pathlib

import numpy as np

from tfdgm.data.builders.array_builder import ArrayBuilder, normalise, split_tail


class Miniboone(ArrayBuilder):
    """Events of the MiniBooNE neutrino experiment: 43 real columns.

    MAF's preparation (Papamakarios et al. 2017, arXiv:1705.07057, appendix D; its datasets/miniboone.py): its
    file holds the electron neutrino rows without 11 outliers and without 7 columns of re-occurring values.
    The last tenth is test, the last tenth of the rest validation; with MAF's file 29,556 / 3,284 / 3,648
    rows. Values are normalised by the mean and standard deviation of train and validation, as in MAF:
    published figures are in these units.

    Source: UCI repository, MiniBooNE particle identification, CC BY 4.0.
    """

    EVENT_SHAPE = (43,)
    HOMEPAGE = "https://zenodo.org/record/1161203"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "MAF's archive, https://zenodo.org/record/1161203, holds miniboone/data.npy."

    @classmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        return [data_dir / "miniboone" / "data.npy"]

    def _arrays(self, paths):
        return normalise(split_tail(np.load(paths[0], allow_pickle=False)))
