import keras
from keras import ops

from tfdgm.families import Family
from tfdgm.layers import Standardize
from tfdgm.networks import AutoregressiveLikelihood, AutoregressiveNetwork
from tfdgm.training.mixed_precision import computing_in


class AutoregressiveTrainer(keras.Model):
    """An autoregressive network and a family as a Keras model that trains under any backend of Keras.

        loss = - sum_i w_i log p(x_i | c_i) / sum_i w_i,  log p(x) = sum_t log p(x_t | x_<t), nats

    as `distributions.Autoregressive` computes it under TensorFlow. Batches are dicts: "x" [n, *event_shape], levels as numbers
    of any type; "weight" [n], 0 for rows that only fill up a batch (JAX compiles anew for every size), else 1; and "condition"
    [n, *condition_shape] for networks that take one.

    Args:
      network: an `AutoregressiveNetwork`.
      family: a `Family`.
      end: as in `networks.AutoregressiveLikelihood`.
      condition_scaling: a `layers.Standardize` of conditions; a new one by default.
      precision: policy of the network's layers in training steps, as in `training.computing_in`, or None.
    """

    def __init__(
        self,
        network: AutoregressiveNetwork,
        family: Family,
        *,
        end: int | None = None,
        condition_scaling: Standardize | None = None,
        precision: str | None = None,
    ):
        super().__init__(dtype=network.variable_dtype)
        self.likelihood = AutoregressiveLikelihood(network, family, end=end, dtype=network.variable_dtype)
        self.network, self.family, self.precision = network, family, precision
        if condition_scaling is None and network.condition_shape is not None:
            condition_scaling = Standardize(network.condition_shape, dtype=network.variable_dtype)
        self.condition_scaling = condition_scaling
        self._nll = keras.metrics.Mean(name="loss")
        self.built = True

    def compile(self, optimizer: str | keras.optimizers.Optimizer, **kwargs) -> None:
        """Keras's `compile`; the loss is built in."""
        optimizer = keras.optimizers.get(optimizer)
        if self.precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # Or small gradients become 0.
        super().compile(optimizer=optimizer, **kwargs)

    def adapt(self, x, condition=None):
        """Sets the output biases and the scaling of conditions from rows, as `distributions.Autoregressive.adapt`; before the
        first step."""
        if condition is not None:
            self.condition_scaling.adapt(condition)
        self.likelihood.adapt(x)

    def call(self, inputs, training=False):
        """log p(x) [n] of a batch."""
        condition = None if self.condition_scaling is None else self.condition_scaling(inputs["condition"])
        with computing_in(self.network, self.precision if training else None):
            log_prob = self.likelihood(inputs["x"], condition=condition, training=training)
        return ops.sum(ops.reshape(log_prob, (-1, self.network.num_positions)), axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean over a batch, by which Keras's training steps go."""
        weight = ops.cast(x["weight"], y_pred.dtype)
        return -ops.sum(weight * y_pred) / ops.sum(weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """{"loss": the mean over all rows so far}."""
        self._nll.update_state(-y_pred, sample_weight=x["weight"])
        return {"loss": self._nll.result()}

    @property
    def metrics(self):
        return [self._nll]
