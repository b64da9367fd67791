"""What happens between a gradient and a weight, and around a training: strategies, checkpoints and pictures."""

import importlib

from tfdgm.training import pictures
from tfdgm.training.cluster import ClusterError, cluster_from_environment

# Lazy: a launch script asks for its cluster without waiting for TensorFlow, and another backend does without it.
_LAZY = {
    "autoregressive_trainer": ("AutoregressiveTrainer",),
    "batches": ("Batches",),
    "checkpoints": ("CheckpointError", "Checkpoints", "Preempted"),
    "data_wait": ("DataWait",),
    "guarded_update": ("StopOnNonFinite", "guarded_update"),
    "mixed_precision": ("computing_in",),
    "replicas": ("num_replicas", "replica_id", "total"),
    "strategies": ("STRATEGIES", "StrategyError", "is_chief", "make_strategy"),
}

__all__ = [
    "STRATEGIES",
    "AutoregressiveTrainer",
    "Batches",
    "CheckpointError",
    "Checkpoints",
    "ClusterError",
    "DataWait",
    "Preempted",
    "StopOnNonFinite",
    "StrategyError",
    "cluster_from_environment",
    "computing_in",
    "guarded_update",
    "is_chief",
    "make_strategy",
    "num_replicas",
    "pictures",
    "replica_id",
    "total",
]


def __getattr__(name):
    for module, names in _LAZY.items():
        if name in names:
            module = importlib.import_module(f"tfdgm.training.{module}")
            # All of them, for the import has set the module `guarded_update` in the function's place.
            globals().update({each: getattr(module, each) for each in names})
            return globals()[name]
    raise AttributeError(f"module 'tfdgm.training' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
