"""What many models leave behind in one process, as README says under "Questions"."""

import concurrent.futures
import gc
import os
import pathlib

import numpy as np
import pytest

import tfdgm

pytestmark = pytest.mark.slow


def train(use_xla=True):
    """Returns the number of the process, and what it holds now: memory maps, and MB."""
    x = np.random.default_rng(0).normal(size=(64, 2))
    model = tfdgm.models.MAF((2,), num_layers=1, hidden_units=(4,))
    model.use_xla = use_xla
    model.compile("adam")
    model.fit(x, verbose=0)
    model.log_prob(x)
    model.sample(2)
    del model
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return os.getpid(), len(pathlib.Path("/proc/self/maps").read_text().splitlines()), pages * os.sysconf("SC_PAGESIZE") / 2**20


def growth(use_xla, count=6):
    """Maps and MB a model, of those after the second."""
    return np.diff([train(use_xla)[1:] for _ in range(count)][1:], axis=0).mean(axis=0)


def in_processes(function, *arguments):
    with concurrent.futures.ProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
        return list(executor.map(function, *arguments))


def test_each_in_a_process_of_its_own_starts_anew():
    (first, maps, _), (second, maps_of_second, _) = in_processes(train, [True, True])
    assert first != second and abs(maps_of_second - maps) < 100


def test_without_xla_little_stays():
    [(maps, megabytes)] = in_processes(growth, [False])
    assert maps < 10 and megabytes < 15


def test_what_xla_compiled_stays():
    """Once this fails, README need not tell of it."""
    [(maps, _)] = in_processes(growth, [True])
    assert maps > 100
