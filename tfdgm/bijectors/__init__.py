"""`tfb.Bijector` subclasses whose value and log-determinant come from one run, without a cache."""

from tfdgm.bijectors.act_norm import ActNorm
from tfdgm.bijectors.bijector import Bijector, forward_and_log_det, inverse_and_log_det, latent_shape_of
from tfdgm.bijectors.chain import Chain
from tfdgm.bijectors.coupling import Coupling
from tfdgm.bijectors.invert import Invert
from tfdgm.bijectors.masked_autoregressive import MaskedAutoregressive
from tfdgm.bijectors.masked_autoregressive_layers import MaskedAutoregressiveLayers
from tfdgm.bijectors.parametric import Parametric
from tfdgm.bijectors.permute import Permute
from tfdgm.bijectors.scaled_sigmoid import ScaledSigmoid
from tfdgm.bijectors.shift_and_log_scale import ShiftAndLogScale
from tfdgm.bijectors.squeeze import Squeeze

__all__ = [
    "ActNorm",
    "Bijector",
    "Chain",
    "Coupling",
    "Invert",
    "MaskedAutoregressive",
    "MaskedAutoregressiveLayers",
    "Parametric",
    "Permute",
    "ScaledSigmoid",
    "ShiftAndLogScale",
    "Squeeze",
    "forward_and_log_det",
    "inverse_and_log_det",
    "latent_shape_of",
]
