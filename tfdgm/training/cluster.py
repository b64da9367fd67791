import itertools
import json
import os
import re
from collections.abc import Mapping

_RANGE = r"\d+(?:-\d+)?"
_ENTRY = rf"(?:[\w.-]|\[{_RANGE}(?:,{_RANGE})*\])+"


class ClusterError(ValueError):
    """An environment that names a cluster, but not well enough to find its workers."""


def cluster_from_environment(environ: Mapping[str, str] = os.environ) -> dict | None:
    """What `tf.distribute` expects in TF_CONFIG, {"cluster": {"worker": ["host:port", ...]}, "task": {"type", "index"}}.

    Every worker of one training computes the same list of addresses, in the same order, and its own place in it. The first of
    these that applies:

    1. `TF_CONFIG` itself, which is checked and returned.
    2. A Kubernetes Indexed Job, alone or in a JobSet. Kubernetes sets `JOB_COMPLETION_INDEX`, this worker's number from 0, and
       nothing else; the manifest sets `TFDGM_NUM_WORKERS` and `TFDGM_WORKER_HOST`, the pods' host names under a headless
       service with `{index}` for the number: `JOB-{index}.SERVICE`, and in a JobSet
       `JOBSET-REPLICATEDJOB-JOBINDEX-{index}.SUBDOMAIN`.
       Without `TFDGM_NUM_WORKERS` the Job's workers have nothing to do with each other.
    3. A Slurm step (`SLURM_STEP_ID`, set by srun and not in the batch script) of several tasks: `SLURM_PROCID`,
       `SLURM_STEP_NUM_TASKS`, `SLURM_STEP_NODELIST` and `SLURM_STEP_TASKS_PER_NODE`, else the job's `SLURM_NTASKS`,
       `SLURM_JOB_NODELIST` and `SLURM_TASKS_PER_NODE`. Tasks must be numbered node by node (`--distribution=block`). Tasks of one
       node have consecutive ports.

    `TFDGM_WORKER_PORT` is the (first) port. Default: 12345; in Slurm, where jobs share nodes, 15000 + SLURM_JOB_ID % 15000.

    Args:
      environ: the environment, a mapping of strings.

    Returns:
      The dict; None where the environment names no cluster.

    Raises:
      ClusterError: names the variable, what was expected and what came.
    """
    if environ.get("TF_CONFIG", "").strip() not in ("", "{}"):
        return _given(environ["TF_CONFIG"])
    if "TFDGM_NUM_WORKERS" in environ:
        return _indexed_job(environ)
    if "SLURM_STEP_ID" in environ:
        return _slurm(environ)
    return None


def _given(text):
    try:
        config = json.loads(text)
        addresses = [address for role in config["cluster"].values() for address in role]
        role = config["cluster"][config["task"]["type"]]
        good = 0 <= config["task"]["index"] < len(role) and all(re.fullmatch(r".+:\d+", a) for a in addresses)
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise ClusterError(
            'TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": i}} with i '
            f"below the number of workers. Received: {text}"
        )
    return config


def _indexed_job(environ):
    count = _integer(environ, "TFDGM_NUM_WORKERS", "the number of workers, the Job's completions", least=1)
    what = f"this worker's number, 0..{count - 1}; the Job must be Indexed"
    index = _integer(environ, "JOB_COMPLETION_INDEX", what, most=count - 1)
    host = environ.get("TFDGM_WORKER_HOST", "")
    if "{index}" not in host:
        raise ClusterError(
            'TFDGM_WORKER_HOST: expected the workers\' host names with {index} for the number, as "train-{index}.train". '
            f"Received: {_received(environ, 'TFDGM_WORKER_HOST')}"
        )
    port = _port(environ, 12345)
    return _config([f"{host.replace('{index}', str(i))}:{port}" for i in range(count)], index)


def _slurm(environ):
    count = _integer(environ, _of_step(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), "the number of tasks", least=1)
    if count == 1:
        return None
    index = _integer(environ, "SLURM_PROCID", f"this task's number, 0..{count - 1}", most=count - 1)
    nodes = _nodes(environ, _of_step(environ, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"))
    per_node = _tasks_per_node(environ, _of_step(environ, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"), nodes, count)
    places = [(node, local) for node, tasks in enumerate(per_node) for local in range(tasks)]
    node, local = places[index]
    here = int(environ.get("SLURM_NODEID", node)), int(environ.get("SLURM_LOCALID", local))
    if here != (node, local):
        raise ClusterError(
            f"SLURM_PROCID: expected tasks numbered node by node (srun --distribution=block), where task {index} is number "
            f"{local} of node {node}. Received: number {here[1]} of node {here[0]}"
        )
    port = _port(environ, 15000 + _integer(environ, "SLURM_JOB_ID", "the job's number") % 15000)
    return _config([f"{nodes[node]}:{port + local}" for node, local in places], index)


def _config(addresses, index):
    return {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}


def _nodes(environ, name):
    """The names in a list of nodes: "gpu[01-03,7],login" -> gpu01, gpu02, gpu03, gpu7, login."""
    text = environ.get(name, "")
    if not re.fullmatch(f"{_ENTRY}(,{_ENTRY})*", text):
        raise ClusterError(f"{name}: expected a list of nodes, as gpu[01-03,7],login. Received: {_received(environ, name)}")
    nodes = []
    for entry in re.finditer(_ENTRY, text):
        parts = re.split(r"\[(.*?)\]", entry[0])  # Every second one stood in brackets.
        choices = [_numbers(part) if i % 2 else [part] for i, part in enumerate(parts)]
        nodes += ["".join(choice) for choice in itertools.product(*choices)]
    return nodes


def _numbers(text):
    """ "01-03,7" -> 01, 02, 03, 7."""
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += [f"{i:0{len(first)}d}" for i in range(int(first), int(last or first) + 1)]
    return numbers


def _tasks_per_node(environ, name, nodes, count):
    """The number of tasks of each node: "2(x3),1" -> 2, 2, 2, 1. Where Slurm does not say, all have the same."""
    text = environ.get(name)
    if text is None and count % len(nodes) == 0:
        return [count // len(nodes)] * len(nodes)
    per_node = []
    for part in (text or "").split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        per_node += [int(match[1])] * int(match[2] or 1) if match else [0]
    if len(per_node) != len(nodes) or sum(per_node) != count or 0 in per_node:
        raise ClusterError(
            f"{name}: expected the tasks of each of {len(nodes)} nodes, as 2(x3),1, {count} in all. "
            f"Received: {_received(environ, name)}"
        )
    return per_node


def _of_step(environ, step, job):
    return step if step in environ else job


def _port(environ, default):
    return _integer(environ, "TFDGM_WORKER_PORT", "a port, 1..65535", least=1, most=65535, default=default)


def _integer(environ, name, what, least=0, most=None, default=None):
    text = environ.get(name, default)
    try:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise ValueError
    except (TypeError, ValueError):
        raise ClusterError(f"{name}: expected {what}. Received: {_received(environ, name)}") from None
    return value


def _received(environ, name):
    return environ.get(name) or "nothing"
