import math
from collections.abc import Callable, Sequence

import keras

from tfdgm.arguments import check_whole
from tfdgm.bijectors import ActNorm, Bijector, MaskedAutoregressiveLayers
from tfdgm.models.arguments import recorded
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import default_widths, flow_over
from tfdgm.networks import MADE


class MAF(DensityModel):
    """Masked autoregressive flow. Exact log p(x), in one pass of each network; a sample goes dimension by dimension.

        x = f_1(... f_K(z)),  z ~ N(0, I),  f_k: x_i = z_i exp(a_i) + m_i,  (m_i, r_i) = network_k(x_<i)
        a = bounded_log_scale(r),  log p(x) = log N(z; 0, I) - sum_k sum_i a_i

    with a MADE in each layer, over the dimensions in alternating order.

    Shapes: x [*batch, *event_shape], c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: shape of one event, e.g. (43,) or (8, 8).
      num_layers: K; 5 or 10 in the paper.
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

    Source: Papamakarios et al. 2017, arXiv:1705.07057, eq. 3-4. We differ: log-scales are bounded (within +-7), and
    ActNorm (optional) stands where the paper has batch normalisation.

    Example:

        >>> x = np.random.default_rng(0).normal(size=(8, 3))
        >>> model = tfdgm.models.MAF((3,), num_layers=2, hidden_units=(8,))
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
            event_shape, num_layers, hidden_units, activation, residual, act_norm, condition_shape, self.dtype_policy
        )
        self._set_distribution(flow_over(bijectors, event_shape, levels, standardize, condition_shape, self.dtype_policy), seed)


def autoregressive_layers(
    event_shape: Sequence[int],
    num_layers: int,
    hidden_units: Sequence[int],
    activation: str | Callable,
    residual: bool,
    act_norm: bool,
    condition_shape: Sequence[int] | None,
    dtype: keras.DTypePolicy,
    inverted: bool = False,
) -> list[Bijector]:
    """The bijectors of a MAF, or of an IAF where `inverted`, data side first."""
    check_whole(num_layers=num_layers)
    size = math.prod(event_shape)
    networks = [
        MADE(
            (size,),
            params_size=2,
            hidden_units=hidden_units,
            activation=activation,
            input_order=("left-to-right", "right-to-left")[i % 2],
            residual=residual,
            condition_shape=condition_shape,
            output_initializer=keras.initializers.VarianceScaling(1e-4),
            dtype=dtype,
        )
        for i in range(num_layers)
    ]
    # With an ActNorm after each layer, one network at a time.
    groups = [[network] for network in networks] if act_norm else [networks]
    bijectors = []
    for group in groups:
        bijectors.append(MaskedAutoregressiveLayers(group, inverse=inverted))
        if act_norm:
            bijectors.append(ActNorm(size, dtype=dtype))
    return bijectors
