"""What happens between a gradient and a weight, and around a training: checkpoints and pictures."""

from tfdgm.training import pictures
from tfdgm.training.checkpoints import CheckpointError, Checkpoints
from tfdgm.training.guarded_update import StopOnNonFinite, guarded_update
from tfdgm.training.replicas import num_replicas, replica_id, total

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "StopOnNonFinite",
    "guarded_update",
    "num_replicas",
    "pictures",
    "replica_id",
    "total",
]
