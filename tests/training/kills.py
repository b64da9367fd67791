"""Trains a recipe again and again, killing each process at a random moment after its first epoch, and prints as JSON how each
ended and what it said: python kills.py RECIPE OUTPUT NUMBER. Then it trains to the end.

Each process is forked from one that has imported everything and computed nothing, which saves the seconds of an import."""

import json
import os
import random
import signal
import sys
import time

from tfdgm import models  # noqa: F401
from tfdgm.zoo.training_run import train


def run(recipe, output, after):
    """Trains in a process that is killed so many seconds after its first epoch, or not at all: (exit status, output)."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        try:
            train(recipe, output)
        finally:
            sys.stdout.flush()
            os._exit(0 if os.path.exists(f"{output}/card.json") else 1)
    os.close(writing)
    said = b""
    killed = after is None
    while part := os.read(reading, 2**16):
        said += part
        if not killed and b" - loss: " in said:
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
            killed = True
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode()


moments = random.Random(0)
print(json.dumps([run(sys.argv[1], sys.argv[2], moments.uniform(0, 0.3)) for _ in range(int(sys.argv[3]))]
                 + [run(sys.argv[1], sys.argv[2], None)]))  # fmt: skip
