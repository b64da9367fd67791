"""`tfd.Distribution` subclasses over our networks and bijectors."""

from tfdgm.distributions.autoregressive import Autoregressive
from tfdgm.distributions.dequantized import Dequantized
from tfdgm.distributions.distribution import Distribution
from tfdgm.distributions.flow import Flow
from tfdgm.distributions.standard_normal import StandardNormal
from tfdgm.distributions.wrapped import Wrapped

__all__ = ["Autoregressive", "Dequantized", "Distribution", "Flow", "StandardNormal", "Wrapped"]
