"""POWER, as MAF prepares it."""

import pathlib

import numpy as np

from tfdgm.data.builders.array_builder import ArrayBuilder, normalise, split_tail


class Power(ArrayBuilder):
    """Electric power consumption of one household, minute by minute: 6 real columns.

    MAF's preparation (Papamakarios et al. 2017, arXiv:1705.07057, appendix D; its datasets/power.py): rows
    shuffled by `RandomState(42)`, columns 1 (reactive power) and 3 (intensity) dropped, uniform noise added
    against the discretisation: [0, 0.001) to active power, [0, 0.01) to voltage, [0, 1) to the three
    sub-meterings, none to time. The last tenth is test, the last tenth of the rest validation; with MAF's
    file 1,659,917 / 184,435 / 204,928 rows. Values are normalised by the mean and standard deviation of train
    and validation, as in MAF: published figures are in these units.

    Source: UCI repository, Individual household electric power consumption, CC BY 4.0.
    """

    EVENT_SHAPE = (6,)
    HOMEPAGE = "https://zenodo.org/record/1161203"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "MAF's archive, https://zenodo.org/record/1161203, holds power/data.npy."

    @classmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        return [data_dir / "power" / "data.npy"]

    def _arrays(self, paths):
        rng = np.random.RandomState(42)
        data = np.load(paths[0], allow_pickle=False)
        rng.shuffle(data)
        n = len(data)
        data = np.delete(data, [1, 3], axis=1)
        # Drawn in MAF's order.
        voltage = 0.01 * rng.rand(n, 1)
        active_power = 0.001 * rng.rand(n, 1)
        sub_metering = rng.rand(n, 3)
        data = data + np.hstack([active_power, voltage, sub_metering, np.zeros((n, 1))])
        return normalise(split_tail(data))
