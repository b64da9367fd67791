"""The files of tools/launch, as far as they can be checked without a cluster: see the table in docs/distributed.md."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from restricted_pods import assert_restricted

from tfdgm.training import cluster_from_environment

LAUNCH = pathlib.Path(__file__).parents[2] / "tools" / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))

# The fields of jobset.x-k8s.io/v1alpha2 that the manifest may use, from the JobSet API's reference.
JOB_SET_FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {"network", "failurePolicy", "replicatedJobs", "successPolicy", "suspend", "ttlSecondsAfterFinished", "coordinator"},
    "spec.network": {"enableDNSHostnames", "publishNotReadyAddresses", "subdomain"},
    "spec.failurePolicy": {"maxRestarts", "restartStrategy", "rules"},
    "spec.failurePolicy.rules": {"name", "action", "onJobFailureReasons", "onJobFailureMessagePatterns", "targetReplicatedJobs"},
    "spec.replicatedJobs": {"name", "replicas", "template", "groupName", "dependsOn"},
}


@pytest.fixture(scope="module")
def documents():
    yaml = pytest.importorskip("yaml")
    return {d["kind"]: d for d in yaml.safe_load_all((LAUNCH / "kubernetes_jobset.yaml").read_text())}


@pytest.fixture(scope="module")
def job_set(documents):
    return documents["JobSet"]


@pytest.fixture(scope="module")
def job(job_set):
    (replicated,) = job_set["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


@pytest.fixture(scope="module")
def container(job):
    (container,) = job["template"]["spec"]["containers"]
    return container


def pod_environment(job_set, index):
    """A worker's environment as Kubernetes makes it: fields from the labels that JobSet sets, $(NAME) from variables before."""
    (replicated,) = job_set["spec"]["replicatedJobs"]
    labels = {
        "jobset.sigs.k8s.io/jobset-name": job_set["metadata"]["name"],
        "jobset.sigs.k8s.io/replicatedjob-name": replicated["name"],
        "jobset.sigs.k8s.io/job-index": "0",
    }
    environ = {"JOB_COMPLETION_INDEX": str(index)}
    for variable in replicated["template"]["spec"]["template"]["spec"]["containers"][0]["env"]:
        if "value" in variable:
            value = re.sub(r"\$\((\w+)\)", lambda match: environ[match[1]], variable["value"])
        else:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            value = labels[re.fullmatch(r"metadata\.labels\['(.+)'\]", path)[1]]
        environ[variable["name"]] = value
    return environ


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path):
    """A PATH on which `python` is this one; tests add programs that stand for those of a cluster."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "python", f'exec {sys.executable} "$@"')
    return folder


def environment(path, **more):
    return {"PATH": f"{path}:{os.environ['PATH']}", "HOME": str(path), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def two_free_ports():
    """The first of two neighbouring ports that nobody listens on."""
    for port in range(21000, 30000, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("", port))
                second.bind(("", port + 1))
            except OSError:
                continue
            return port
    raise OSError("There are no free ports.")


class TestScripts:
    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
    def test_bash_reads_them(self, script):
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", script], check=True)

    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
    def test_shellcheck_finds_nothing(self, script):
        beside = pathlib.Path(sys.executable).with_name("shellcheck")
        shellcheck = beside if beside.exists() else shutil.which("shellcheck")
        if shellcheck is None:
            pytest.skip("shellcheck is not installed")
        result = subprocess.run([shellcheck, script], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout

    def test_the_files_are_there(self):
        assert {p.name for p in LAUNCH.iterdir()} == {"kubernetes_jobset.yaml", "slurm.sh", "tpu_vm.sh"}


class TestJobSet:
    def test_fields(self, job_set):
        assert (job_set["apiVersion"], job_set["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
        for path, allowed in JOB_SET_FIELDS.items():
            node = job_set
            for key in path.split(".") if path else []:
                node = node[key]
            for fields in node if isinstance(node, list) else [node]:
                assert set(fields) <= allowed, path
        for rule in job_set["spec"]["failurePolicy"]["rules"]:
            assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])

    def test_its_job_and_claim_meet_the_schema_of_kubernetes(self, documents, job):
        validate = pytest.importorskip("kubernetes_validate").validate
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train-workers-0"}, "spec": job}
        for document in (job, documents["PersistentVolumeClaim"], documents["NetworkPolicy"]):
            validate(document, "1.33", strict=True)

    def test_what_a_worker_may_do(self, job):
        assert_restricted(job["template"]["spec"])

    def test_workers_listen_to_each_other_alone(self, documents, job_set, container):
        policy = documents["NetworkPolicy"]["spec"]
        (rule,) = policy["ingress"]
        assert policy["policyTypes"] == ["Ingress"] and rule["from"] == [{"podSelector": policy["podSelector"]}]
        assert policy["podSelector"] == {"matchLabels": {"jobset.sigs.k8s.io/jobset-name": job_set["metadata"]["name"]}}
        assert rule["ports"] == [{"port": container["ports"][0]["containerPort"]}]

    def test_all_workers_run_at_once_and_are_numbered(self, job_set, job):
        assert job["completionMode"] == "Indexed"
        assert job["completions"] == job["parallelism"] == int(pod_environment(job_set, 0)["TFDGM_NUM_WORKERS"]) > 1

    def test_a_failed_worker_restarts_all(self, job_set, job):
        assert job["backoffLimit"] == 0 and job["template"]["spec"]["restartPolicy"] == "Never"
        assert job_set["spec"]["failurePolicy"]["maxRestarts"] > 0

    def test_disruptions_do_not_count(self, job_set, job):
        (rule,) = job["podFailurePolicy"]["rules"]
        assert rule == {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        (restart,) = job_set["spec"]["failurePolicy"]["rules"]
        assert restart["action"] == "RestartJobSetAndIgnoreMaxRestarts" and restart["onJobFailureReasons"] == ["PodFailurePolicy"]

    def test_there_is_time_for_a_checkpoint(self, job):
        assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 60

    def test_the_volume_is_shared_and_holds_the_output(self, documents, job_set, job, container):
        claim = documents["PersistentVolumeClaim"]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        (volume,) = [v for v in job["template"]["spec"]["volumes"] if "persistentVolumeClaim" in v]
        (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] != "/tmp"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"] and volume["name"] == mount["name"]
        assert pod_environment(job_set, 0)["OUTPUT"].startswith(mount["mountPath"] + "/")

    def test_every_worker_finds_all(self, job_set, job, container):
        # JobSet's documentation: <jobSet.name>-<replicatedJob.name>-<job-index>-<pod-index>.<subdomain>, which is the JobSet's
        # name where the manifest gives none.
        assert job_set["spec"]["network"]["enableDNSHostnames"] and job_set["spec"]["network"]["publishNotReadyAddresses"]
        name = job_set["metadata"]["name"]
        subdomain = job_set["spec"]["network"].get("subdomain", name)
        port = container["ports"][0]["containerPort"]
        expected = [f"{name}-workers-0-{i}.{subdomain}:{port}" for i in range(job["completions"])]
        for i in range(job["completions"]):
            config = cluster_from_environment(pod_environment(job_set, i))
            assert config == {"cluster": {"worker": expected}, "task": {"type": "worker", "index": i}}


class TestJobSetsCommand:
    """The container's script runs here, with programs that stand for `tfdgm` (and `python`, which takes seconds)."""

    @pytest.fixture
    def start(self, job_set, container, path, tmp_path):
        started = []

        def start(tfdgm, *, config='echo "{}"', arguments=("--model", "MAF")):
            if config:
                program(path, "python", config)
            program(path, "tfdgm", tfdgm)
            environ = {**pod_environment(job_set, 1), "OUTPUT": str(tmp_path / "a run")}
            process = subprocess.Popen(
                [*container["command"], *container["args"][:2], *arguments],
                env=environment(path, **environ),
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(process)
            return process

        yield start
        for process in started:
            process.stdout.close()

    @pytest.mark.slow
    def test_tf_config(self, start, job_set):
        worker = start('echo "$TF_CONFIG"', config=None)
        found = json.loads(worker.communicate(timeout=120)[0])
        assert worker.returncode == 0 and found == cluster_from_environment(pod_environment(job_set, 1))

    def test_arguments_are_no_programs(self, start, tmp_path):
        odd = ["--data", "rows/*.npy", "--set", "$(touch started); echo 'a b' &"]
        lines = start('printf "%s\\n" "$@"', arguments=odd).communicate(timeout=30)[0].splitlines()
        assert lines == ["train", *odd, "--strategy", "multi_worker", "--output", str(tmp_path / "a run")]
        assert not (tmp_path / "started").exists()

    def test_the_arguments_of_the_file_are_those_of_train(self, container):
        script, name, *arguments = container["args"]
        assert name == "worker" and "eval" not in script
        assert {argument.split("=")[0] for argument in arguments} == {"--model", "--data", "--batch_size"}

    @pytest.mark.parametrize("code", [0, 3])
    def test_exit_codes_pass_through(self, start, code):
        assert start(f"exit {code}").wait(timeout=30) == code

    def test_no_training_without_tf_config(self, start, tmp_path):
        assert start("touch trained", config="exit 7").wait(timeout=30) == 7
        assert not (tmp_path / "trained").exists()

    def test_a_preempted_worker_saves_and_is_not_finished(self, start, tmp_path):
        worker = start('trap "echo saved; exit 0" TERM; touch ready; while true; do sleep 0.05; done')
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        assert worker.communicate(timeout=30)[0] == "saved\n"
        assert worker.returncode == 143

    def test_preempted_before_it_trains(self, start, tmp_path):
        worker = start("touch trained", config="touch ready; sleep 1; echo {}")
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 143 and not (tmp_path / "trained").exists()

    def test_a_finished_run_is_left_alone(self, start, tmp_path):
        (tmp_path / "a run").mkdir()
        (tmp_path / "a run" / "card.json").write_text("{}")
        assert start("touch trained").wait(timeout=30) == 0
        assert not (tmp_path / "trained").exists()


class TestSlurm:
    """slurm.sh runs here, with an `srun` that starts its tasks one after the other."""

    @pytest.fixture
    def job(self, path, tmp_path):
        program(path, "scontrol", 'echo "$@" > requeued')
        program(
            path,
            "srun",
            """echo "$@" > srun_options
            while [[ $1 == --* ]]; do shift; done
            for i in 0 1; do SLURM_STEP_ID=0 SLURM_PROCID=$i "$@" || exit; done""",
        )
        environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "gpu[08-09]", "SLURM_NTASKS": "2", "SLURM_TASKS_PER_NODE": "1(x2)"}

        def job(tfdgm, *arguments, config='echo "{}"', **more):
            if config:
                program(path, "python", config)
            program(path, "tfdgm", tfdgm)
            command = [LAUNCH / "slurm.sh", *(arguments or ("run", "--data", "rows/*.npy"))]
            given = environment(path, **{**environ, "SLURM_CPUS_PER_TASK": "8", **more})
            return subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=300)

        return job

    @pytest.mark.slow
    def test_a_step_with_tf_config_for_every_task(self, job, tmp_path):
        result = job('printf "%s|" "$@" "$TF_CONFIG"; echo; touch run/card.json', config=None)
        assert result.returncode == 0 and not (tmp_path / "requeued").exists()
        lines = [line.split("|") for line in result.stdout.splitlines()]
        for i, line in enumerate(lines):
            assert line[:-2] == ["train", "--strategy", "auto", "--output", "run", "--data", "rows/*.npy"]
            assert json.loads(line[-2]) == {
                "cluster": {"worker": ["gpu08:15007", "gpu09:15007"]},
                "task": {"type": "worker", "index": i},
            }
        assert len(lines) == 2
        options = (tmp_path / "srun_options").read_text()
        assert options.startswith("--kill-on-bad-exit=1 --distribution=block --cpus-per-task=8 ")

    @pytest.mark.slow
    def test_two_workers_train(self, job, path, tmp_path):
        """With the real `tfdgm` and an `srun` whose tasks run at once, on this machine."""
        program(
            path,
            "srun",
            """while [[ $1 == --* ]]; do shift; done
            for i in 0 1; do SLURM_STEP_ID=0 SLURM_PROCID=$i "$@" & pids[i]=$!; done
            wait ${pids[0]} && wait ${pids[1]}""",
        )
        np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(300, 3)).astype("float32"))
        small = [
            "--batch_size=64",
            "--epochs=1",
            "--set=model.num_layers=1",
            "--set=model.hidden_units=[4]",
            "--set=training.xla=false",
        ]
        environ = {"SLURM_JOB_NODELIST": "localhost", "SLURM_TASKS_PER_NODE": "2", "TFDGM_WORKER_PORT": str(two_free_ports())}
        result = job(
            f'exec {sys.executable} -m tfdgm "$@"', "run", "--model=RealNVP", "--data=rows.npy", *small, config=None, **environ
        )
        assert result.returncode == 0, result.stderr
        assert json.loads((tmp_path / "run" / "card.json").read_text())["training"]["epochs"] == 1
        assert "2 replicas" in result.stdout

    def test_an_unfinished_run_is_queued_again(self, job, tmp_path):
        assert job("mkdir -p run/checkpoints; touch run/checkpoints/state.npz").returncode == 0
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"

    def test_so_it_is_when_a_worker_failed_after_a_checkpoint(self, job, tmp_path):
        assert job("mkdir -p run/checkpoints; touch run/checkpoints/state.npz; exit 1").returncode == 0
        assert (tmp_path / "requeued").exists()

    def test_an_attempt_without_a_checkpoint_is_the_last(self, job, tmp_path):
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        (tmp_path / "run" / "checkpoints" / "state.npz").touch()  # Of an earlier attempt.
        os.utime(tmp_path / "run" / "checkpoints" / "state.npz", (0, 0))
        os.utime(tmp_path / "run" / "checkpoints", (0, 0))
        result = job("exit 3")
        assert result.returncode == 3 and "not queued again" in result.stderr
        assert not (tmp_path / "requeued").exists()

    def test_without_arguments(self, path, tmp_path):
        result = subprocess.run([LAUNCH / "slurm.sh"], env=environment(path), cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 2 and result.stderr.startswith("Usage:")

    def test_sigterm_comes_before_the_end_and_the_job_may_requeue(self):
        options = re.findall(r"^#SBATCH (.*)$", (LAUNCH / "slurm.sh").read_text(), flags=re.MULTILINE)
        assert {"--signal=TERM@300", "--requeue", "--open-mode=append", "--ntasks-per-node=1"} <= set(options)


class TestTpuVm:
    def run(self, path, tmp_path, *arguments, **environ):
        # `gcloud ... ssh ... --command TEXT` runs the text here, and what it calls there is a program of this PATH.
        program(
            path,
            "gcloud",
            """echo "$@" | head -n 1 >> gcloud_calls
            if [ "$4" = ssh ]; then bash -c "${@: -1}"; fi""",
        )
        program(path, "tfdgm", 'printf "%s|" "$@"; echo; exit "$CODE"')
        command = [LAUNCH / "tpu_vm.sh", *arguments]
        environ = environment(path, **environ)
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    @pytest.mark.parametrize("code", [0, 3])
    def test_trains_between_two_copies(self, path, tmp_path, code):
        arguments = ("--model", "MAF", "--set", "model.hidden_units=[8, 8]")
        place = {"TPU": "my-tpu", "ZONE": "us-central1-a", "BUCKET": "gs://bucket/a run"}
        result = self.run(path, tmp_path, *arguments, CODE=str(code), **place)
        assert result.returncode == code
        assert result.stdout.splitlines() == ["train|--strategy|tpu|--output|run|--model|MAF|--set|model.hidden_units=[8, 8]|"]
        calls = (tmp_path / "gcloud_calls").read_text().splitlines()
        assert calls[0].startswith("compute tpus tpu-vm ssh my-tpu --zone us-central1-a --command")
        assert calls[1] == "storage rsync --recursive gs://bucket/a run run"
        assert calls[2] == "storage rsync --recursive --delete-unmatched-destination-objects run gs://bucket/a run"

    def test_says_what_is_missing(self, path, tmp_path):
        result = self.run(path, tmp_path, TPU="my-tpu", ZONE="us-central1-a")
        assert result.returncode != 0 and "BUCKET: expected a folder gs://" in result.stderr
