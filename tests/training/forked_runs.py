"""Runs `tfdgm train RECIPE` in processes that get signals, and prints as JSON {folder: [(exit status, output) of each process]}:
python forked_runs.py RECIPE FOLDER NUMBER. The runs end in FOLDER/unbroken, FOLDER/killed (as often as NUMBER says, each time at
a random moment after the process's first epoch) and FOLDER/terminated.

Each process is forked from one that has imported everything and computed nothing, which saves the seconds of an import."""

import gc
import json
import os
import random
import signal
import sys
import time

from tfdgm import models  # noqa: F401
from tfdgm.cli import train  # noqa: F401
from tfdgm.cli.main import main
from tfdgm.zoo import training_run  # noqa: F401

# As in conftest.py; what is frozen, the children share.
gc.freeze()
gc.set_threshold(50_000, 20, 100)


def run(recipe, output, number=None, after=0.0):
    """Trains in a process that gets the signal so many seconds after its first epoch, if any: (exit status, output)."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        code = 70
        try:
            code = main(["train", recipe, "--output", output])
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writing)
    said = b""
    while part := os.read(reading, 2**16):
        said += part
        if number is not None and b" - loss: " in said:
            time.sleep(after)
            os.kill(child, number)
            number = None
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode()


recipe, folder = sys.argv[1:3]
moments = random.Random(0)
unbroken, killed, terminated = (os.path.join(folder, name) for name in ("unbroken", "killed", "terminated"))
print(
    json.dumps(
        {
            "unbroken": [run(recipe, unbroken)],
            "killed": [run(recipe, killed, signal.SIGKILL, moments.uniform(0, 0.2)) for _ in range(int(sys.argv[3]))]
            + [run(recipe, killed)],
            "terminated": [run(recipe, terminated, signal.SIGTERM, 0.2), run(recipe, terminated)],
        }
    )
)
