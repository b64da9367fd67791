"""BSDS300 patches, MAF's file."""

import pathlib

from tfdgm.data.builders.array_builder import ArrayBuilder
from tfdgm.data.data_error import DataError


class Bsds300(ArrayBuilder):
    """63 pixels of 8 x 8 grey patches of natural images, MAF's own file: the patches of published figures.

    1,000,000 train, 50,000 validation and 250,000 test rows. Each patch has uniform noise added, is divided
    by 256, has its mean subtracted and its last pixel dropped (Uria et al. 2013, arXiv:1306.0186;
    Papamakarios et al. 2017, arXiv:1705.07057, appendix D). No further normalisation. `bsds300_patches` makes
    such patches from the images.

    Source: Martin et al. 2001, Berkeley Segmentation Dataset; for research use.
    """

    EVENT_SHAPE = (63,)
    HOMEPAGE = "https://zenodo.org/record/1161203"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "MAF's archive, https://zenodo.org/record/1161203, holds BSDS300/BSDS300.hdf5."

    @classmethod
    def source_files(cls, data_dir: pathlib.Path) -> list[pathlib.Path]:
        return [data_dir / "BSDS300" / "BSDS300.hdf5"]

    def _arrays(self, paths):
        import h5py

        with h5py.File(paths[0], "r") as file:
            missing = [k for k in ("train", "validation", "test") if k not in file]
            if missing:
                raise DataError(f"{paths[0]}: expected train, validation and test. Received: {', '.join(file)}.")
            return {split: file[split][:] for split in ("train", "validation", "test")}
