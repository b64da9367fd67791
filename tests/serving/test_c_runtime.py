"""SavedModels in TensorFlow's C library, without a line of our Python or TensorFlow's, against the Python model."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from contracts.cases import CASES

import tfdgm

SCRIPT = pathlib.Path(__file__).with_name("c_runtime.py")
ZOO = sorted((SCRIPT.parents[2] / "zoo").glob("*/1"))
FRESH = ("made_binary_condition", "iaf", "realnvp_condition", "gaussian_mixture")
ROWS = 5


def inputs_of(model, x, signature, random):
    """Arrays for every input of a signature: rows x that the model itself finds likely, noise, and seeds."""
    seeds = np.stack([np.full(ROWS, 3), np.arange(ROWS)], axis=1).astype(np.int32)
    given = {
        "log_prob": {"x": x},
        "serving_default": {"x": x},
        "sample": {"seed": seeds},
        "encode": {"x": x},
        "decode": {"z": random.normal(size=x.shape).astype(np.float32)},
        "complete": {"x": x, "known": random.integers(0, 2, x.shape).astype(x.dtype), "seed": seeds},
    }[signature]
    return given if model.condition_shape is None else {**given, "condition": condition_of(model)}


def condition_of(model):
    if model.condition_shape is None:
        return None
    return np.random.default_rng(4).normal(size=(ROWS, *model.condition_shape)).astype(np.float32)


def in_python(model, signature, given):
    """What the Python model gives for a signature's inputs; scores and samples by its public methods."""
    distribution, condition = model.distribution, given.get("condition")
    if signature in ("log_prob", "serving_default"):
        return {"log_prob": distribution.log_prob_of_rows(given["x"], condition)}
    if signature == "sample":
        return {"x": model.sample(ROWS, seed=3, condition=condition)}
    if signature == "encode":
        return dict(zip(("z", "log_det"), distribution.to_base(given["x"], condition), strict=True))
    if signature == "decode":
        return {"x": tf.function(distribution.from_base, autograph=False)(given["z"], condition)}
    return {"x": model.complete(given["x"], given["known"], seed=3, condition=condition)}


@pytest.fixture(scope="module")
def in_c(tmp_path_factory):
    """{name: (the Python model, {signature: (inputs, outputs of the C library)}, what the process said)}, by one process."""
    paths = {f"zoo/{path.parent.name}": path for path in ZOO}
    for name in FRESH:
        model = CASES[name].make(seed=2)
        model.adapt(CASES[name].x, CASES[name].condition)
        paths[name] = tmp_path_factory.mktemp(name) / "1"
        model.export(paths[name])
    models = {name: tfdgm.load(path) for name, path in paths.items()}
    for model in models.values():
        model.use_xla = False
    jobs = {name: tmp_path_factory.mktemp("job") for name in paths}
    for name, folder in jobs.items():
        signatures = ["log_prob", "sample"]
        signatures += ["encode", "decode"] if hasattr(models[name].distribution, "to_base") else []
        if name in FRESH:  # Python takes as long to trace a completion by the zoo's networks as a sample.
            signatures += ["serving_default"]
            signatures += ["complete"] if hasattr(models[name].distribution, "complete_from_noise") else []
        (folder / "job.json").write_text(json.dumps({"saved_model": str(paths[name].resolve()), "calls": signatures}))
        random, x = np.random.default_rng(5), np.asarray(models[name].sample(ROWS, seed=11, condition=condition_of(models[name])))
        for i, signature in enumerate(signatures):
            np.savez(folder / f"inputs-{i}.npz", **inputs_of(models[name], x, signature, random))
    command = [sys.executable, str(SCRIPT), *map(str, jobs.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    results = {}
    for name, folder in jobs.items():
        calls = json.loads((folder / "job.json").read_text())["calls"]
        loaded = [[dict(np.load(folder / f"{side}-{i}.npz")) for side in ("inputs", "outputs")] for i in range(len(calls))]
        results[name] = models[name], dict(zip(calls, loaded, strict=True)), json.loads((folder / "done.json").read_text())
    return results


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(f"zoo/{path.parent.name}" for path in ZOO), *FRESH])
class TestCRuntime:
    @pytest.mark.filterwarnings("ignore:In . of . rows, known positions come after unknown ones")  # At random.
    def test_every_signature_gives_what_python_gives(self, in_c, name):
        model, calls, said = in_c[name]
        assert set(calls) == set(said["signatures"]) - (set() if name in FRESH else {"serving_default", "complete"})
        for signature, (given, received) in calls.items():
            expected = in_python(model, signature, given)
            assert set(received) == set(expected)
            for output, value in expected.items():
                value = np.asarray(value)
                assert received[output].dtype == value.dtype and received[output].shape == value.shape
                np.testing.assert_allclose(received[output], value, rtol=1e-5, atol=1e-5, err_msg=f"{signature} {output}")

    def test_in_a_process_without_the_python_packages(self, in_c, name):
        modules = in_c[name][2]["modules"]
        assert "numpy" in modules
        assert not {"tensorflow", "tfdgm", "keras", "tensorflow_probability"} & set(modules)


def test_there_is_a_zoo():
    assert len(ZOO) >= 3
