"""What happens between a gradient and a weight, and around a training: strategies, checkpoints and pictures."""

from tfdgm.training import pictures
from tfdgm.training.checkpoints import CheckpointError, Checkpoints, Preempted
from tfdgm.training.cluster import ClusterError, cluster_from_environment
from tfdgm.training.data_wait import DataWait
from tfdgm.training.guarded_update import StopOnNonFinite, guarded_update
from tfdgm.training.mixed_precision import computing_in
from tfdgm.training.replicas import num_replicas, replica_id, total
from tfdgm.training.strategies import STRATEGIES, StrategyError, is_chief, make_strategy

__all__ = [
    "STRATEGIES",
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
