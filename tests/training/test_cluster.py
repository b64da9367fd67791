import json
import subprocess
import sys

import pytest

from tfdgm.training import ClusterError, cluster_from_environment

JOB = {"JOB_COMPLETION_INDEX": "1", "TFDGM_NUM_WORKERS": "3", "TFDGM_WORKER_HOST": "train-workers-0-{index}.train"}
STEP = {
    "SLURM_JOB_ID": "31007",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "node[01-03,7]",
    "SLURM_NTASKS": "4",
    "SLURM_TASKS_PER_NODE": "1(x4)",
    "SLURM_PROCID": "2",
}


def workers(environ):
    return cluster_from_environment(environ)["cluster"]["worker"]


class TestNoCluster:
    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"TF_CONFIG": ""},
            {"TF_CONFIG": "{}"},
            {"JOB_COMPLETION_INDEX": "1"},  # An Indexed Job whose pods work alone.
            {key: value for key, value in STEP.items() if key != "SLURM_STEP_ID"},  # The batch script, outside srun.
            {**STEP, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        ],
    )
    def test_is_none(self, environ):
        assert cluster_from_environment(environ) is None

    def test_the_default_is_this_process_environment(self, monkeypatch):
        for name, value in JOB.items():
            monkeypatch.setenv(name, value)
        assert cluster_from_environment()["task"]["index"] == 1


class TestTfConfig:
    def test_is_taken_as_it_is_and_first(self):
        config = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
        assert cluster_from_environment({**JOB, **STEP, "TF_CONFIG": json.dumps(config)}) == config

    def test_with_a_chief(self):
        config = {"cluster": {"chief": ["a:1"], "worker": ["b:2"]}, "task": {"type": "chief", "index": 0}}
        assert cluster_from_environment({"TF_CONFIG": json.dumps(config)}) == config

    @pytest.mark.parametrize(
        "text",
        [
            "null",
            "not json",
            "[]",
            '{"cluster": {"worker": ["a:1"]}}',
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        ],
    )
    def test_errors_show_it(self, text):
        with pytest.raises(ClusterError, match="TF_CONFIG: expected") as error:
            cluster_from_environment({"TF_CONFIG": text})
        assert text in str(error.value)


class TestIndexedJob:
    def test_hosts_follow_the_pattern(self):
        assert cluster_from_environment(JOB) == {
            "cluster": {"worker": [f"train-workers-0-{i}.train:12345" for i in range(3)]},
            "task": {"type": "worker", "index": 1},
        }

    def test_port(self):
        assert workers({**JOB, "TFDGM_WORKER_PORT": "7000"})[2] == "train-workers-0-2.train:7000"

    @pytest.mark.parametrize(
        "name,value,expected",
        [
            ("JOB_COMPLETION_INDEX", None, r"0\.\.2; the Job must be Indexed. Received: nothing"),
            ("JOB_COMPLETION_INDEX", "3", "Received: 3"),
            ("TFDGM_NUM_WORKERS", "two", "expected the number of workers, .* Received: two"),
            ("TFDGM_NUM_WORKERS", "0", "Received: 0"),
            ("TFDGM_WORKER_HOST", None, "host names with {index}.* Received: nothing"),
            ("TFDGM_WORKER_HOST", "train-0", "Received: train-0"),
            ("TFDGM_WORKER_PORT", "70000", r"1\.\.65535. Received: 70000"),
        ],
    )
    def test_errors_name_the_variable(self, name, value, expected):
        environ = {key: v for key, v in {**JOB, name: value}.items() if v is not None}
        with pytest.raises(ClusterError, match=f"^{name}: .*{expected}"):
            cluster_from_environment(environ)


class TestSlurm:
    def test_one_task_a_node(self):
        assert cluster_from_environment(STEP) == {
            "cluster": {"worker": ["node01:16007", "node02:16007", "node03:16007", "node7:16007"]},
            "task": {"type": "worker", "index": 2},
        }

    def test_tasks_of_one_node_have_their_own_ports(self):
        environ = {**STEP, "SLURM_NTASKS": "6", "SLURM_TASKS_PER_NODE": "2(x2),1(x2)", "TFDGM_WORKER_PORT": "7000"}
        expected = ["node01:7000", "node01:7001", "node02:7000", "node02:7001", "node03:7000", "node7:7000"]
        assert workers(environ) == expected

    def test_a_step_on_a_part_of_the_job(self):
        step = {"SLURM_STEP_NODELIST": "node[02-03]", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
        assert workers({**STEP, **step, "SLURM_PROCID": "0"}) == ["node02:16007", "node03:16007"]

    def test_without_the_tasks_of_a_node_they_are_equal(self):
        environ = {key: value for key, value in STEP.items() if key != "SLURM_TASKS_PER_NODE"}
        assert len(set(workers({**environ, "SLURM_NTASKS": "8"}))) == 8

    @pytest.mark.parametrize(
        "text,nodes",
        [
            ("login", ["login"]),
            ("a,b-1.example", ["a", "b-1.example"]),
            ("gpu[8-11]", ["gpu8", "gpu9", "gpu10", "gpu11"]),
            ("gpu[098-101]", ["gpu098", "gpu099", "gpu100", "gpu101"]),
            ("r[1-2]n[3,5]-ib,x", ["r1n3-ib", "r1n5-ib", "r2n3-ib", "r2n5-ib", "x"]),
        ],
    )
    def test_node_lists(self, text, nodes):
        environ = {**STEP, "SLURM_JOB_NODELIST": text, "SLURM_TASKS_PER_NODE": f"2(x{len(nodes)})"}
        found = workers({**environ, "SLURM_NTASKS": str(2 * len(nodes)), "SLURM_PROCID": "0"})
        assert [address.split(":")[0] for address in found[::2]] == nodes

    @pytest.mark.parametrize(
        "name,value",
        [
            ("SLURM_JOB_NODELIST", ""),
            ("SLURM_JOB_NODELIST", "node[1-2"),
            ("SLURM_JOB_NODELIST", "node[1-]"),
            ("SLURM_JOB_NODELIST", "a,,b"),
            ("SLURM_TASKS_PER_NODE", "1(x3)"),
            ("SLURM_TASKS_PER_NODE", "2(x4)"),
            ("SLURM_TASKS_PER_NODE", "one"),
            ("SLURM_PROCID", "4"),
            ("SLURM_PROCID", "-1"),
            ("SLURM_NTASKS", "many"),
            ("SLURM_JOB_ID", ""),
        ],
    )
    def test_errors_name_the_variable(self, name, value):
        with pytest.raises(ClusterError, match=f"^{name}: expected .* Received: ") as error:
            cluster_from_environment({**STEP, name: value})
        assert (value or "nothing") in str(error.value)

    def test_tasks_dealt_out_in_turn_are_refused(self):
        # Four tasks on two nodes under --distribution=cyclic: task 1 is the first of node 1.
        environ = {**STEP, "SLURM_JOB_NODELIST": "a,b", "SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_PROCID": "1"}
        assert workers({**environ, "SLURM_NODEID": "0", "SLURM_LOCALID": "1"}) == ["a:16007", "a:16008", "b:16007", "b:16008"]
        with pytest.raises(ClusterError, match=r"--distribution=block.* Received: number 0 of node 1"):
            cluster_from_environment({**environ, "SLURM_NODEID": "1", "SLURM_LOCALID": "0"})


class TestAgainstTensorFlow:
    """TensorFlow's own readers of these environments agree."""

    @pytest.mark.parametrize("tasks,per_node", [(4, "1(x4)"), (7, "2(x3),1")])
    def test_slurm(self, monkeypatch, tasks, per_node):
        import tensorflow as tf

        environ = {**STEP, "SLURM_NTASKS": str(tasks), "TFDGM_WORKER_PORT": "8888"}
        environ |= {"SLURM_STEP_NODELIST": STEP["SLURM_JOB_NODELIST"], "SLURM_STEP_NUM_TASKS": str(tasks)}
        environ |= {"SLURM_STEP_TASKS_PER_NODE": per_node}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        one_gpu = {"gpus_per_node": 2, "gpus_per_task": 1, "auto_set_gpu": False}  # Else it asks nvidia-smi.
        theirs = tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=8888, **one_gpu)
        ours = cluster_from_environment(environ)
        assert theirs.cluster_spec().as_dict() == ours["cluster"]
        assert (theirs.task_type, theirs.task_id) == (ours["task"]["type"], ours["task"]["index"])

    @pytest.mark.parametrize("environ", [JOB, STEP])
    def test_tf_config(self, monkeypatch, environ):
        import tensorflow as tf

        config = cluster_from_environment(environ)
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        assert resolver.cluster_spec().as_dict() == config["cluster"]
        assert (resolver.task_type, resolver.task_id) == ("worker", config["task"]["index"])


class TestImports:
    def test_a_launch_script_waits_for_no_tensorflow(self):
        # As the scripts of tools/launch ask for it.
        code = (
            "import sys; from tfdgm.training import cluster_from_environment;"
            "print(cluster_from_environment({}), sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert result.stdout.strip() == "None []"
