"""Writes a named data set to FOLDER/SOURCE.npz, which `tfdgm train --data_dir FOLDER` reads where TensorFlow is not installed.

Usage: python tools/pack_data.py SOURCE FOLDER [--condition label] [--every N]
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tfdgm.data.loading import pack

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="binarized_mnist, fashion_mnist, ...")
    parser.add_argument("folder")
    parser.add_argument("--condition", help="label")
    parser.add_argument("--data_dir", help="Folder of the source files. Default: the environment's TFDGM_DATA_DIR.")
    parser.add_argument("--every", type=int, help="An excerpt: each N-th test row, and no others.")
    arguments = parser.parse_args()
    print(pack(**vars(arguments)))
