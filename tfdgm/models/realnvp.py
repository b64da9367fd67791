import math

import numpy as np

from tfdgm.arguments import check_whole
from tfdgm.bijectors import ActNorm, Coupling, Permute
from tfdgm.elementwise import Affine
from tfdgm.frozen_random import FrozenRandom
from tfdgm.models.density_model import DensityModel
from tfdgm.models.flows import flow_over
from tfdgm.networks import DenseNetwork


class RealNVP(DensityModel):
    """Real NVP over vectors: Dinh et al. 2017, arXiv:1605.08803. Scoring and sampling are each one pass of the networks.

    num_layers affine couplings with a fixed random permutation between them, so that all dimensions meet. A dense network
    conditions each; the paper's convolutions, checkerboard masks and multi-scale squeezing are for images and not here.

    Args:
      event_shape: shape of one event; flattened, of at least 2 dimensions.
      num_layers: number of couplings.
      hidden_units, activation, residual, dropout: of each coupling's `DenseNetwork`.
      act_norm: an ActNorm after each coupling.
      levels, standardize, condition_shape: as in MAF.
      seed: of the permutations and the training noise.
    """

    def __init__(
        self,
        event_shape,
        *,
        num_layers=8,
        hidden_units=(256, 256),
        activation="relu",
        residual=False,
        dropout=0.0,
        act_norm=True,
        levels=None,
        standardize=True,
        condition_shape=None,
        seed=0,
        dtype=None,
        name=None,
    ):
        super().__init__(dtype=dtype, name=name)
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
