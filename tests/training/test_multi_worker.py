import json
import re
import signal
import socket
import time

import numpy as np
import pytest
from forked import Command

import tfdgm
from tfdgm.zoo import Recipe

RECIPE = {
    "model": {"class": "MADE", "hidden_units": [16]},
    "data": {"source": "digits", "batch_size": 96},
    "training": {"epochs": 3, "clipnorm": 1.0, "ema_momentum": 0.9, "learning_rate": 1e-3, "xla": False},
}


def start(recipe, output, workers):
    """`tfdgm train` as so many processes on the loopback interface; one plain process without workers."""
    sockets = [socket.socket() for _ in range(workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
    for each in sockets:
        each.close()
    commands = []
    for index in range(workers or 1):
        config = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})} if workers else {}
        log = output.with_name(f"{output.name}_{index}_of_{workers}.log")
        commands.append(Command(["train", recipe, "--output", output], log, config))
    return commands


def finish(commands):
    codes, outputs = [command.wait(400) for command in commands], [command.said() for command in commands]
    assert codes == [0] * len(commands), "\n\n".join(outputs)
    return outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "recipe.toml").write_text(Recipe(RECIPE).to_toml())
    finish(start(folder / "recipe.toml", folder / "one", 0))
    return folder


def assert_same(folder, name):
    one, many = tfdgm.load(folder / "one"), tfdgm.load(folder / name)
    for a, b in zip(one.weights, many.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # After 45 steps.
    cards = [json.loads((folder / run / "card.json").read_text()) for run in ("one", name)]
    np.testing.assert_allclose(cards[0]["test"]["nll"], cards[1]["test"]["nll"], rtol=1e-4)
    return cards[1]


@pytest.mark.slow
class TestWorkers:
    def test_three_equal_one_and_only_the_first_writes(self, folder):
        outputs = finish(start(folder / "recipe.toml", folder / "of_3", 3))
        card = assert_same(folder, "of_3")
        assert card["training"]["replicas"] == 3
        assert "3 replicas share each batch of 96" in outputs[0] and "SavedModel" in outputs[0]
        for output in outputs[1:]:
            assert "Epoch" not in output and "SavedModel" not in output

    def test_two_killed_and_started_again_equal_one(self, folder):
        output = folder / "killed"
        commands = start(folder / "recipe.toml", output, 2)
        state = output / "checkpoints" / "state.npz"
        last = time.monotonic() + 300
        while not state.exists():
            assert time.monotonic() < last and commands[0].is_alive()
            time.sleep(0.02)
        for command in commands:
            command.send_signal(signal.SIGKILL)
            command.wait()
        outputs = finish(start(folder / "recipe.toml", output, 2))
        assert re.search(r"Going on after epoch [12]", outputs[0])
        assert "2 replicas share each batch of 96" in outputs[0] and "SavedModel" in outputs[0]
        assert "Epoch" not in outputs[1] and "SavedModel" not in outputs[1]
        assert assert_same(folder, "killed")["training"]["replicas"] == 2
