import dataclasses

import numpy as np
import pytest

from tfdgm.cli.main import main


def pytest_itemcollected(item):
    """A command prints warnings, and does not end with them; tests ask for what it printed."""
    eagerly = "ignore:Even though the `tf.config.experimental_run_functions_eagerly`:UserWarning"
    item.add_marker(pytest.mark.filterwarnings("default", "ignore::DeprecationWarning", eagerly))


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capfd):
    """Runs a command in this process."""

    def run(*argv):
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture
def fails(cli):
    """Runs a command that must fail with one line on stderr and nothing that looks like a traceback; returns that line."""

    def run(*argv, code=1):
        result = cli(*argv)
        lines = result.err.strip().splitlines()
        assert result.code == code and len(lines) == 1, result
        assert lines[0].startswith("tfdgm: error: ") and "Traceback" not in result.err
        return lines[0]

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A finished run of a small MADE over the digits: images, levels 0..16."""
    folder = tmp_path_factory.mktemp("runs") / "made_digits"
    small = ["--set", "model.hidden_units=[8]", "--set", "training.xla=false", "--epochs", "2", "--batch_size", "512"]
    assert main(["train", "--model", "MADE", "--data", "digits", *small, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def vector_model(tmp_path_factory):
    """A SavedModel over real vectors [3], and a csv of 5,000 rows for it."""
    import tfdgm

    folder = tmp_path_factory.mktemp("vectors")
    x = np.random.default_rng(0).normal(size=(5000, 3)).astype("float32")
    np.savetxt(folder / "rows.csv", x, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    np.save(folder / "rows.npy", x)
    model = tfdgm.models.MADE((3,), levels=None, num_components=2, hidden_units=(4,))
    model.adapt(x)
    model.export(folder / "model" / "1")
    return folder
