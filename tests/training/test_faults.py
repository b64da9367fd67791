import json
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tfdgm
from tfdgm.zoo import Recipe

RECIPE = {
    "model": {"class": "MADE", "hidden_units": [16], "dropout": 0.2},
    "data": {"source": "digits", "batch_size": 64},
    "training": {"epochs": 150, "ema_momentum": 0.9, "xla": False},
}


class Run:
    """`tfdgm train` in a process of its own."""

    def __init__(self, recipe, output):
        command = [sys.executable, "-m", "tfdgm", "train", str(recipe), "--output", str(output)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self.trains = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if " - loss: " in line:
                self.trains.set()
        self.trains.set()

    def end(self, number=None, after=0.0):
        """Waits for the first epoch's line and so many seconds more, sends the signal, and returns (exit code, output)."""
        if number is not None:
            assert self.trains.wait(300)
            time.sleep(after)
            self.process.send_signal(number)
        code = self.process.wait(600)
        return code, "".join(self.lines)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A recipe, and what an unbroken run makes of it."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "recipe.toml").write_text(Recipe(RECIPE).to_toml())
    code, output = Run(folder / "recipe.toml", folder / "run").end()
    assert code == 0, output
    return folder


def assert_same(one, other):
    for a, b in zip(tfdgm.load(one).weights, tfdgm.load(other).weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.path)
    cards = [json.loads((folder / "card.json").read_text()) for folder in (one, other)]
    np.testing.assert_allclose(cards[0]["test"]["nll"], cards[1]["test"]["nll"], rtol=1e-6)
    assert cards[0]["training"]["best_epoch"] == cards[1]["training"]["best_epoch"]


@pytest.mark.slow
class TestFaults:
    def test_killed_twenty_times_equals_unbroken(self, unbroken, tmp_path):
        script = pathlib.Path(__file__).with_name("kills.py")
        command = [sys.executable, str(script), str(unbroken / "recipe.toml"), str(tmp_path / "run"), "20"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        runs = json.loads(done.stdout.splitlines()[-1])
        assert [code for code, _ in runs] == [-signal.SIGKILL] * 20 + [0], runs
        going_on = [line for _, said in runs for line in said.splitlines() if line.startswith("Going on after")]
        assert len(set(going_on)) > 10  # It was interrupted at many places, and lost none.
        assert not (tmp_path / "run" / "checkpoints").exists()
        assert_same(unbroken / "run", tmp_path / "run")

    def test_sigterm_saves_and_ends_with_0(self, unbroken, tmp_path):
        code, output = Run(unbroken / "recipe.toml", tmp_path / "run").end(signal.SIGTERM, 0.3)
        assert code == 0 and "Asked to stop: the state after epoch" in output and "Traceback" not in output, output
        assert not (tmp_path / "run" / "card.json").exists()
        code, output = Run(unbroken / "recipe.toml", tmp_path / "run").end()
        assert code == 0 and "Going on after epoch" in output, output
        assert_same(unbroken / "run", tmp_path / "run")
