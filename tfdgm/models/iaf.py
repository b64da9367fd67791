from collections.abc import Callable, Sequence

import keras

from tfdgm.models.arguments import recorded
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import default_widths, flow_over
from tfdgm.models.maf import autoregressive_layers


class IAF(DensityModel):
    """Inverse autoregressive flow. A sample, with its exact log p(x), is one pass of each network.

        z_i = x_i exp(a_i) + m_i,  (m_i, r_i) = network_k(z_<i),  a = bounded_log_scale(r),  log |det dz/dx| = sum_i a_i

    in each of K layers: the MAF with its two directions exchanged. Scoring data generates z dimension by dimension, so training
    on data costs several times MAF's; IAF is for sampling and variational inference.

    Shapes: x [*batch, *event_shape], c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: shape of one event, e.g. (43,) or (8, 8).
      num_layers: K.
      hidden_units: widths of each MADE's hidden layers; by default two layers of 16 units a dimension, those
        of the condition included, at least 64 and at most 512.
      activation: any Keras activation.
      residual: residual connections between hidden layers of one width.
      act_norm: an ActNorm after each layer.
      levels: L for integer data 0..L-1, which is dequantized uniformly and carried to the real line; log_prob is then an
        estimate, whose mean is a lower bound. Of a table, one for each column: (None, 100, 2), with None for real ones.
      standardize: subtracts the training data's mean and divides by its standard deviation, inside the model: `log_prob`
        stays that of the data as given.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of the training noise.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for sizes below 1, and `residual` with hidden layers of several widths.
      ValueError: from `log_prob` and `fit` for x of another shape, and for numbers that are not finite or no levels.

    Source: Kingma et al. 2016, arXiv:1606.04934. We differ: exp(a) with bounded a, as in `MAF`, in the place of the paper's gate
    sigma x + (1 - sigma) m; no encoder's features enter but as a condition.

    Example:

        >>> x = np.random.default_rng(0).normal(size=(8, 3))
        >>> model = tfdgm.models.IAF((3,), num_layers=1, hidden_units=(8,))
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 3]))
    """

    is_affine = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_layers: int = 5,
        hidden_units: Sequence[int] | None = None,
        activation: str | Callable = "relu",
        residual: bool = False,
        act_norm: bool = False,
        levels: int | Sequence[int | None] | None = None,
        standardize: bool = True,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
    ):
        super().__init__(dtype=dtype, name=name)
        if hidden_units is None:
            hidden_units = recorded(self._arguments, "hidden_units", default_widths(event_shape, condition_shape, 512))
        bijectors = autoregressive_layers(
            event_shape,
            num_layers,
            hidden_units,
            activation,
            residual,
            act_norm,
            condition_shape,
            self.dtype_policy,
            inverted=True,
        )
        self._set_distribution(flow_over(bijectors, event_shape, levels, standardize, condition_shape, self.dtype_policy), seed)
