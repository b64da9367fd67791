import json
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

import tfdgm
from tfdgm.zoo import Recipe

RECIPE = {
    "model": {"class": "MADE", "hidden_units": [16], "dropout": 0.2},
    "data": {"source": "digits", "batch_size": 64},
    "training": {"epochs": 100, "ema_momentum": 0.9, "xla": False},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of the runs of tests/training/forked_runs.py, and what it prints."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "recipe.toml").write_text(Recipe(RECIPE).to_toml())
    script = pathlib.Path(__file__).with_name("forked_runs.py")
    command = [sys.executable, str(script), str(folder / "recipe.toml"), str(folder), "20"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


def assert_same(one, other):
    for a, b in zip(tfdgm.load(one).weights, tfdgm.load(other).weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.path)
    cards = [json.loads((folder / "card.json").read_text()) for folder in (one, other)]
    np.testing.assert_allclose(cards[0]["test"]["nll"], cards[1]["test"]["nll"], rtol=1e-6)
    assert cards[0]["training"]["best_epoch"] == cards[1]["training"]["best_epoch"]


@pytest.mark.slow
class TestFaults:
    def test_killed_twenty_times_equals_unbroken(self, runs):
        folder, ended = runs
        assert [code for code, _ in ended["unbroken"]] == [0], ended["unbroken"]
        assert [code for code, _ in ended["killed"]] == [-signal.SIGKILL] * 20 + [0], ended["killed"]
        going_on = [line for _, said in ended["killed"] for line in said.splitlines() if line.startswith("Going on after")]
        assert len(set(going_on)) > 10  # It was interrupted at many places, and lost none.
        assert not (folder / "killed" / "checkpoints").exists()
        assert_same(folder / "unbroken", folder / "killed")

    def test_sigterm_saves_and_ends_with_0(self, runs):
        folder, ended = runs
        (code, output), (again, rest) = ended["terminated"]
        assert code == 0 and "Asked to stop: the state after epoch" in output and "Traceback" not in output, output
        assert "SavedModel" not in output
        assert again == 0 and "Going on after epoch" in rest, rest
        assert_same(folder / "unbroken", folder / "terminated")
