import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfdgm.arguments import check_whole
from tfdgm.bijectors import ActNorm, Coupling, Permute
from tfdgm.elementwise import Affine
from tfdgm.frozen_random import FrozenRandom
from tfdgm.models.arguments import recorded
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import default_widths, flow_over
from tfdgm.networks import DenseNetwork


class RealNVP(DensityModel):
    """Real NVP over vectors. Exact log p(x); scoring and sampling are each one pass of the networks.

        x = f_1(... f_K(z)),  z ~ N(0, I),  f_k: x_i = z_i for half of the dimensions i, else z_i exp(a_i) + m_i,
        (m, r) = network_k(that half),  a = bounded_log_scale(r),  log p(x) = log N(z; 0, I) - sum_k sum_i a_i

    with a fixed random permutation between couplings, so that all dimensions meet.

    Shapes: x [*batch, *event_shape], c [*batch, *condition_shape] -> log_prob [*batch], nats; sample [n, *event_shape].

    Args:
      event_shape: shape of one event; flattened, of at least 2 dimensions.
      num_layers: number of couplings, K.
      hidden_units: widths of the hidden layers of each coupling's `DenseNetwork`; by default two layers of 16 units a
        dimension, those of the condition included, at least 64 and at most 256.
      activation: any Keras activation.
      residual: residual connections between hidden layers of one width.
      dropout: rate after each hidden layer, in training only.
      act_norm: an ActNorm after each coupling.
      levels: L for integer data 0..L-1, which is dequantized uniformly and carried to the real line; log_prob is then an
        estimate, whose mean is a lower bound. Of a table, one for each column: (None, 100, 2), with None for real ones.
      standardize: subtracts the training data's mean and divides by its standard deviation, inside the model: `log_prob`
        stays that of the data as given.
      condition_shape: shape of the condition c in p(x|c), or None.
      seed: of the permutations and the training noise.
      dtype, name: of the Keras model.

    Raises:
      ValueError: for events of one dimension, and sizes below 1.
      ValueError: from `log_prob` and `fit` for x of another shape, and for numbers that are not finite or no levels.

    Source: Dinh et al. 2017, arXiv:1605.08803, eq. 6-9. We differ: dense networks; the paper's convolutions, checkerboard
    masks and multi-scale squeezing are for images and not here. Log-scales are bounded, and ActNorm stands where it has batch
    normalisation.

    Example:

        >>> x = np.random.default_rng(0).normal(size=(8, 3))
        >>> model = tfdgm.models.RealNVP((3,), num_layers=2, hidden_units=(8,))
        >>> model.compile("adam")
        >>> history = model.fit(x, verbose=0)
        >>> model.log_prob(x).shape, model.sample(2, seed=1).shape
        (TensorShape([8]), TensorShape([2, 3]))
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_layers: int = 8,
        hidden_units: Sequence[int] | None = None,
        activation: str | Callable = "relu",
        residual: bool = False,
        dropout: float = 0.0,
        act_norm: bool = True,
        levels: int | Sequence[int | None] | None = None,
        standardize: bool = True,
        condition_shape: Sequence[int] | None = None,
        seed: int = 0,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
    ):
        super().__init__(dtype=dtype, name=name)
        if hidden_units is None:
            hidden_units = recorded(self._arguments, "hidden_units", default_widths(event_shape, condition_shape, 256))
        size = math.prod(event_shape)
        if size < 2:
            raise ValueError(f"RealNVP needs events of at least 2 dimensions. Received: event_shape={tuple(event_shape)}")
        check_whole(num_layers=num_layers)
        random = FrozenRandom(seed)
        bijectors = []
        for i in range(num_layers):
            passed = size // 2
            network = DenseNetwork(
                passed,
                2 * (size - passed),
                hidden_units=hidden_units,
                activation=activation,
                residual=residual,
                dropout=dropout,
                condition_shape=condition_shape,
                seed=i,
                dtype=self.dtype_policy,
            )
            coupling = Coupling(network, Affine(), np.arange(size) < passed, condition_shape=condition_shape)
            bijectors += [coupling, Permute(random.permutation(size))]
            if act_norm:
                bijectors.append(ActNorm(size, dtype=self.dtype_policy))
        self._set_distribution(flow_over(bijectors, event_shape, levels, standardize, condition_shape, self.dtype_policy), seed)
