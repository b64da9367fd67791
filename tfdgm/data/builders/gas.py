"""GAS, as MAF prepares it."""

import pathlib

import numpy as np

from tfdgm.data.builders.array_builder import ArrayBuilder, split_tail
from tfdgm.data.data_error import DataError


class Gas(ArrayBuilder):
    """Readings of chemical sensors exposed to a mixture of ethylene and CO: 8 real columns.

    MAF's preparation (Papamakarios et al. 2017, arXiv:1705.07057, appendix D; its datasets/gas.py): the
    columns Time, Meth and Eth dropped; then, one at a time, the first column whose correlation with another
    is above 0.98. Values are normalised by the mean and standard deviation of all rows (test too, as in MAF:
    published figures are in these units). The last tenth is test, the last tenth of the rest validation; with
    MAF's file 852,174 / 94,685 / 105,206.

    Source: UCI repository, Gas sensor array under dynamic gas mixtures, CC BY 4.0.
    MAF's file is a pickle of a pandas table: reading it needs pandas, and runs what the pickle says; take it
    from a source you trust.
    """

    EVENT_SHAPE = (8,)
    HOMEPAGE = "https://zenodo.org/record/1161203"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "MAF's archive, https://zenodo.org/record/1161203, holds gas/ethylene_CO.pickle."

    @classmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        return [data_dir / "gas" / "ethylene_CO.pickle"]

    def _arrays(self, paths):
        try:
            import pandas
        except ImportError:
            raise DataError(f"{paths[0]} is a pandas table: reading it needs pandas (pip install pandas).") from None
        table = pandas.read_pickle(paths[0])
        missing = [c for c in ("Meth", "Eth", "Time") if c not in table.columns]
        if missing:
            raise DataError(
                f"{paths[0]}: expected the columns Time, Meth, Eth and the sensors. "
                f"Received: {', '.join(map(str, table.columns))}."
            )
        data = drop_correlated(table.drop(columns=["Meth", "Eth", "Time"]).to_numpy(np.float64))
        # pandas' std divides by n - 1.
        return split_tail((data - data.mean(axis=0)) / data.std(axis=0, ddof=1))


def drop_correlated(data: np.ndarray, threshold: float = 0.98) -> np.ndarray:
    """Drops the first column that correlates above the threshold with another, until there is none."""
    correlated = np.corrcoef(data, rowvar=False) > threshold
    keep = list(range(data.shape[1]))
    while True:
        # Each column correlates with itself.
        counts = correlated[np.ix_(keep, keep)].sum(axis=1)
        if not np.any(counts > 1):
            return data[:, keep]
        del keep[int(np.argmax(counts > 1))]
