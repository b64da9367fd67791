"""tools/serving/: that what the launch files name is what `tfdgm export` writes. No container runs here."""

import http.server
import json
import pathlib
import re
import shutil
import socket
import subprocess
import threading

import pytest
from restricted_pods import assert_restricted

from tfdgm.serving.server_files import write_server_files

yaml = pytest.importorskip("yaml")
FOLDER = pathlib.Path(__file__).parents[2] / "tools" / "serving"
VARIABLES = {"TFDGM_MODELS": "SERVED", "TFDGM_MODEL": "maf_digits"}


def compose(variables=VARIABLES):
    """The only service, after Compose's interpolation: ${NAME:-default}, ${NAME:?error}, and $$ for $."""

    def value(match):
        if match.group() == "$$":
            return "$"
        name, operator, rest = match.group(1), match.group(2), match.group(3)
        if name not in variables:
            assert operator == ":-", f"{name} is required: {rest}"
            return rest
        return variables[name]

    lines = [line for line in (FOLDER / "docker-compose.yml").read_text().splitlines() if not line.startswith("#")]
    services = yaml.safe_load(re.sub(r"\$\$|\$\{(\w+)(:[-?])([^}]*)\}", value, "\n".join(lines)))["services"]
    assert len(services) == 1
    return next(iter(services.values()))


def kubernetes():
    documents = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
    return {document["kind"]: document for document in documents}


def pod():
    return kubernetes()["Deployment"]["spec"]["template"]["spec"]


def flags(arguments):
    return dict(argument.removeprefix("--").split("=") for argument in arguments)


@pytest.fixture
def written(tmp_path):
    """The names of the files that an export writes beside the models."""
    return {path.name for path in write_server_files(tmp_path)}


class TestBoth:
    @pytest.mark.parametrize("arguments", [compose()["command"], pod()["containers"][0]["args"]], ids=["compose", "kubernetes"])
    def test_the_server_reads_what_export_writes(self, arguments, written):
        given = flags(arguments)
        files = {given[name] for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file")}
        assert files == {f"/models/{name}" for name in written}
        assert given["enable_batching"] == given["allow_version_labels_for_unavailable_models"] == "true"
        assert not [name for name in given if "jit" in name or "xla" in name]
        assert set(given) <= {
            "model_config_file", "model_config_file_poll_wait_seconds", "allow_version_labels_for_unavailable_models",
            "enable_batching", "batching_parameters_file", "monitoring_config_file",
        }  # fmt: skip

    def test_the_official_image_in_one_version(self):
        image = compose()["image"]
        assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", image)
        assert pod()["containers"][0]["image"] == image
        for page in ("README.md", "docs/serving.md"):
            commands = re.findall(r"docker run.*? (tensorflow/serving\S*)", (FOLDER.parents[1] / page).read_text())
            assert commands == [image], page

    def test_the_commands_of_the_documentation(self):
        text = (FOLDER.parents[1] / "docs" / "serving.md").read_text()
        commands = [block for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL) if "--model_config_file" in block]
        assert len(commands) == 2
        for block in commands:
            given = {flag.split("=")[0]: flag.split("=")[1] for flag in re.findall(r"--([a-z_]+=\S+)", block)}
            for name, value in flags(compose()["command"]).items():
                if name != "model_config_file_poll_wait_seconds":
                    assert given[name].replace("/models/", "").replace("served/", "") == value.replace("/models/", "")


class TestCompose:
    def test_ports_mount_and_limits(self):
        service = compose()
        assert {port.split(":", 1)[1] for port in service["ports"]} == {"8500:8500", "8501:8501"}
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["volumes"] == [{"type": "bind", "source": "SERVED", "target": "/models", "read_only": True}]
        assert service["user"] == "65534:65534" and service["read_only"] is True and service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
        assert service["deploy"]["resources"]["limits"] == {"cpus": "4", "memory": "4G"}

    def test_what_must_be_given(self):
        for name in VARIABLES:
            with pytest.raises(AssertionError, match=f"{name} is required"):
                compose({key: value for key, value in VARIABLES.items() if key != name})

    @pytest.mark.skipif(shutil.which("bash") is None, reason="the health check is bash")
    @pytest.mark.parametrize(
        ("status", "state", "healthy"), [(200, "AVAILABLE", True), (200, "LOADING", False), (404, None, False)]
    )
    def test_health_check(self, status, state, healthy):
        """Run as the container would, against the REST API's answers as TensorFlow Serving's documentation shows them."""
        seen = []

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.path)
                versions = {"model_version_status": [{"version": "1", "state": state}]}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(versions if state else {"error": "not found"}, indent=1).encode())

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert self.check(server.server_port) is healthy
        finally:
            server.shutdown()
            server.server_close()
        assert seen == ["/v1/models/maf_digits"]

    @pytest.mark.skipif(shutil.which("bash") is None, reason="the health check is bash")
    def test_health_check_without_a_server(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            assert not self.check(free.getsockname()[1])

    def check(self, port):
        test = compose()["healthcheck"]["test"]
        assert test[0] == "CMD" and "/8501" in test[3]
        command = [part.replace("/8501", f"/{port}") for part in test[1:]]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


class TestKubernetes:
    def test_ports(self):
        container, service = pod()["containers"][0], kubernetes()["Service"]["spec"]
        assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc": 8500, "rest": 8501}
        assert {port["targetPort"]: port["port"] for port in service["ports"]} == {"grpc": 8500, "rest": 8501}

    def test_the_parts_find_each_other(self):
        found = kubernetes()
        deployment = found["Deployment"]["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        assert deployment["selector"]["matchLabels"] == labels == found["Service"]["spec"]["selector"]
        policy = found["NetworkPolicy"]["spec"]
        assert policy["podSelector"]["matchLabels"] == labels
        claim = pod()["volumes"][0]["persistentVolumeClaim"]
        assert claim == {"claimName": found["PersistentVolumeClaim"]["metadata"]["name"], "readOnly": True}

    def test_mount_probes_and_limits(self):
        container = pod()["containers"][0]
        assert container["volumeMounts"][0] == {"name": pod()["volumes"][0]["name"], "mountPath": "/models", "readOnly": True}
        for probe in ("startupProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/v1/models/maf_digits", "port": "rest"}
        assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
        assert set(container["resources"]["limits"]) == set(container["resources"]["requests"]) == {"cpu", "memory"}

    def test_what_it_may_do(self):
        assert_restricted(pod())

    def test_who_may_ask(self):
        policy = kubernetes()["NetworkPolicy"]["spec"]
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"} and "egress" not in policy
        ports = {port["name"] for port in pod()["containers"][0]["ports"]}
        for rule in policy["ingress"]:
            assert rule["from"] and {port["port"] for port in rule["ports"]} <= ports

    def test_metrics_where_the_monitoring_file_puts_them(self, tmp_path):
        write_server_files(tmp_path)
        annotations = kubernetes()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
        assert f'path: "{annotations["prometheus.io/path"]}"' in (tmp_path / "monitoring.config").read_text()

    def test_schema(self):
        validate = pytest.importorskip("kubernetes_validate")
        for document in kubernetes().values():
            validate.validate(document, validate.latest_version(), strict=True)
