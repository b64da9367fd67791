import json
import random
import signal
import time

import numpy as np
import pytest
from forked import Command

import tfdgm
from tfdgm.zoo import Recipe

RECIPE = {
    "model": {"class": "MADE", "hidden_units": [16], "dropout": 0.2},
    # A third of the rows: a smaller batch, alone in the rest of an epoch, is rounded otherwise, which grows over the epochs.
    "data": {"source": "digits", "batch_size": 479},
    "training": {"epochs": 75, "ema_momentum": 0.9, "xla": False},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe, and what an unbroken run makes of it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "recipe.toml").write_text(Recipe(RECIPE).to_toml())
    assert train(folder, "unbroken")[0] == 0
    return folder


def train(folder, name, number=None, epochs=1, after=0.0):
    """(exit status, output) of `tfdgm train` in folder/name, which gets the signal so many seconds after so many epochs."""
    command = Command(["train", folder / "recipe.toml", "--output", folder / name], folder / f"{name}.log")
    if number is not None:
        while command.said().count(" - val_loss: ") < epochs and command.is_alive():
            time.sleep(0.01)
        time.sleep(after)
        command.send_signal(number)
    return command.wait(300), command.said()


def assert_same(one, other):
    for a, b in zip(tfdgm.load(one).weights, tfdgm.load(other).weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.path)
    cards = [json.loads((folder / "card.json").read_text()) for folder in (one, other)]
    np.testing.assert_allclose(cards[0]["test"]["nll"], cards[1]["test"]["nll"], rtol=1e-6)
    assert cards[0]["training"]["best_epoch"] == cards[1]["training"]["best_epoch"]


@pytest.mark.slow
class TestFaults:
    def test_killed_twenty_times_equals_unbroken(self, folder):
        moments = random.Random(0)
        at = [{"epochs": moments.randint(2, 3), "after": moments.uniform(0, 0.1)} for _ in range(20)]
        ended = [train(folder, "killed", signal.SIGKILL, **moment) for moment in at]
        ended.append(train(folder, "killed"))
        assert [code for code, _ in ended] == [-signal.SIGKILL] * 20 + [0], ended
        going_on = [line for _, said in ended for line in said.splitlines() if line.startswith("Going on after")]
        assert len(set(going_on)) > 10  # It was interrupted at many places, and lost none.
        assert not (folder / "killed" / "checkpoints").exists()
        assert_same(folder / "unbroken", folder / "killed")

    def test_sigterm_saves_and_ends_with_0(self, folder):
        code, output = train(folder, "terminated", signal.SIGTERM, after=0.1)
        assert code == 0 and "Asked to stop: the state after epoch" in output and "Traceback" not in output, output
        assert "SavedModel" not in output
        again, rest = train(folder, "terminated")
        assert again == 0 and "Going on after epoch" in rest, rest
        assert_same(folder / "unbroken", folder / "terminated")
