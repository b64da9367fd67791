"""The few operations of a training step that know how many replicas a `tf.distribute` strategy runs."""

import tensorflow as tf


def num_replicas() -> int:
    """How many replicas take part in this step; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(values: tf.Tensor | list[tf.Tensor]) -> tf.Tensor | list[tf.Tensor]:
    """The sum over all replicas of a tensor `values`, or of each of a list; to be called on a replica."""
    if num_replicas() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def replica_id() -> int | tf.Tensor:
    """This replica's number: 0 without a strategy, else an int32 tensor."""
    return 0 if num_replicas() == 1 else tf.distribute.get_replica_context().replica_id_in_sync_group
