"""Model servers for tests: TensorFlow Serving's own where it is installed, and ours over TensorFlow's C library."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

OURS = pathlib.Path(__file__).parent / "serving" / "model_server.py"
#: To parametrize fixtures with.
SERVERS = ("test_server", "tensorflow_model_server")


@dataclasses.dataclass
class Server:
    """Where a server listens, and its process."""

    grpc: str
    rest: str
    process: subprocess.Popen


def installed(server):
    """The command of one of SERVERS, or None where it is not installed."""
    if server == "test_server":
        return [sys.executable, str(OURS)]
    binary = os.environ.get("TFDGM_MODEL_SERVER") or shutil.which("tensorflow_model_server")
    return [binary] if binary else None


def program_of(server):
    """As `installed`; skips the test that asks for what is not."""
    import pytest  # The benchmark, which uses this file too, needs none.

    return installed(server) or pytest.skip("tensorflow_model_server is neither on PATH nor named by TFDGM_MODEL_SERVER")


@contextlib.contextmanager
def running(folder, models, *, server="test_server", labels=None):
    """A Server of `models` {name: folder of versions}, all versions, with `labels` {name: {label: version}}.

    `folder` is for its configuration and its log.
    """
    config = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" model_version_policy {{ all {{}} }} '
        + "".join(f'version_labels {{ key: "{label}" value: {v} }} ' for label, v in (labels or {}).get(name, {}).items())
        + "}\n"
        for name, path in models.items()
    )
    (folder / "models.config").write_text(f"model_config_list {{\n{config}}}\n")
    grpc_port, rest_port = free_port(), free_port()
    command = [*installed(server), f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command += [f"--model_config_file={folder / 'models.config'}", "--allow_version_labels_for_unavailable_models=true"]
    with open(folder / "log", "w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
        try:
            rest = f"http://127.0.0.1:{rest_port}"
            deadline = time.monotonic() + 120
            while not all(_available(rest, name) for name in models):
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
                time.sleep(0.1)
            yield Server(f"127.0.0.1:{grpc_port}", rest, process)
        finally:
            process.terminate()
            process.wait(30)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _available(rest, name):
    try:
        with urllib.request.urlopen(f"{rest}/v1/models/{name}", timeout=10) as reply:
            versions = json.load(reply)["model_version_status"]
    except (OSError, urllib.error.HTTPError):
        return False
    return all(version["state"] == "AVAILABLE" for version in versions)
