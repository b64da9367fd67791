"""What `tfdgm export` wrote, served: the folder's own configuration files, and the flags of tools/serving/."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from served import SERVERS, free_port, program_of

import tfdgm
from tfdgm.cli.main import main

pytest.importorskip("tensorflow_serving")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """maf with three versions, of which the last is of bfloat16, and made with one."""
    folder = tmp_path_factory.mktemp("served")
    model = tfdgm.models.MADE((3,), levels=None, num_components=2, hidden_units=(4,))
    model.adapt(np.random.default_rng(0).normal(size=(50, 3)))
    model.export(folder / "model" / "1")
    served = folder / "served"
    for name, options in (("rows", ()), ("rows", ()), ("rows", ("--precision=bfloat16",)), ("other", ())):
        arguments = ["export", str(folder / "model"), str(served), f"--name={name}", f"--server_dir={served}", "--max_batch=8"]
        assert main([*arguments, *options]) == 0
    return served


@pytest.fixture(scope="module", params=SERVERS)
def rest(request, folder, tmp_path_factory):
    """The REST address of a server of that folder."""
    program, port = program_of(request.param), free_port()
    command = [
        *program,
        f"--port={free_port()}",
        f"--rest_api_port={port}",
        f"--model_config_file={folder}/models.config",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={folder}/batching.config",
        f"--monitoring_config_file={folder}/monitoring.config",
    ]
    path = tmp_path_factory.mktemp("log") / "log"
    with open(path, "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                get(f"http://127.0.0.1:{port}/v1/models/rows")
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, path.read_text()[-3000:]
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1/models"
    finally:
        process.terminate()
        process.wait(30)


def get(url):
    with urllib.request.urlopen(url, timeout=20) as reply:
        return json.load(reply)


X = [[1.0, -0.5, 0.2], [0.0, 3.0, 1.0]]


class TestServed:
    @pytest.mark.slow
    def test_the_two_newest_versions_and_each_model(self, rest):
        states = {version["version"]: version["state"] for version in get(f"{rest}/rows")["model_version_status"]}
        assert states == {"2": "AVAILABLE", "3": "AVAILABLE"}
        assert [version["version"] for version in get(f"{rest}/other")["model_version_status"]] == ["1"]

    @pytest.mark.skipif(shutil.which("curl") is None, reason="the request is curl's")
    @pytest.mark.slow
    def test_the_request_of_the_documentation(self, rest, folder):
        """By curl: without a label the newest version answers, `canary` is it, and `stable` the one before."""
        body = json.dumps({"signature_name": "log_prob", "instances": X})
        scores = {}
        for where in ("", "/labels/stable", "/labels/canary", "/versions/2"):
            command = ["curl", "-sS", "-f", "-d", body, f"{rest}/rows{where}:predict"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert result.returncode == 0, result.stderr
            scores[where] = json.loads(result.stdout)["predictions"]
        for where, version in (("", 3), ("/labels/stable", 2), ("/labels/canary", 3), ("/versions/2", 2)):
            path = folder / "rows" / str(version)
            if version == 3:
                with pytest.warns(UserWarning, match="bfloat16"):
                    model = tfdgm.load(path)
            else:
                model = tfdgm.load(path)
            model.use_xla = False
            np.testing.assert_allclose(scores[where], model.log_prob(X), rtol=1e-5, atol=1e-5)
        assert scores["/labels/stable"] != scores["/labels/canary"]
