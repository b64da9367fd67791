import functools
import json
import os

import tensorflow as tf

from tfdgm.training.cluster import cluster_from_environment

STRATEGIES = ("default", "mirrored", "multi_worker", "tpu", "auto")


class StrategyError(ValueError):
    """A strategy that is unknown, or not to be had on this machine."""


def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The `tf.distribute.Strategy` of a name; build, compile and `fit` a model under its `scope()`.

    Must be called before TensorFlow computes anything where several workers take part.

    Args:
      name:
        "default": one device, the first GPU where there is one.
        "mirrored": all GPUs of this machine, or all of its logical CPUs.
        "multi_worker": the workers of `cluster_from_environment` (TF_CONFIG, Kubernetes, Slurm), each with all of its GPUs.
        "tpu": the TPU of the environment's TPU_NAME, or of this virtual machine.
        "auto": multi_worker where there are several workers, tpu where TPU_NAME is set, mirrored where there are several GPUs,
          else default.
    """
    if name not in STRATEGIES:
        raise StrategyError(f"A strategy is one of {', '.join(STRATEGIES)}. Received: {name!r}")
    if name in ("auto", "multi_worker") and (cluster := cluster_from_environment()):
        os.environ["TF_CONFIG"] = json.dumps(cluster)  # Where TensorFlow looks.
    if name == "auto":
        if _num_workers() > 1:
            name = "multi_worker"
        elif os.environ.get("TPU_NAME"):
            name = "tpu"
        else:
            name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "default"
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return _mirrored(tuple(device.name for device in tf.config.list_logical_devices(kind)))
    if name == "multi_worker":
        if not _num_workers():
            raise StrategyError(
                "multi_worker needs the environment's TF_CONFIG, or that of a Kubernetes or Slurm job. There is none."
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME", "local"))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        why = str(error).splitlines()[0].split(" with these attrs")[0]
        raise StrategyError(f"There is no TPU to be had here: {why}") from None
    return tf.distribute.TPUStrategy(resolver)


@functools.cache
def _mirrored(devices):
    """One a process: a second one over the same devices reuses the numbers of the first one's collectives, and fails (2.21)."""
    return tf.distribute.MirroredStrategy(devices)


def is_chief() -> bool:
    """Whether this process writes files: all do, but for workers other than the first."""
    task = _config().get("task", {})
    return _num_workers() < 2 or task.get("type") == "chief" or (task.get("index", 0) == 0 and "chief" not in _workers())


def _num_workers():
    return sum(len(addresses) for role, addresses in _workers().items() if role in ("chief", "worker"))


def _workers():
    return _config().get("cluster", {})


def _config():
    return json.loads(os.environ.get("TF_CONFIG") or "{}")
