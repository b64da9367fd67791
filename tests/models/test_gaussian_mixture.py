from contracts.real_model import RealModelContract
from contracts.rows import REAL
from contracts.total_mass import TotalMassContract

from tfdgm.models import GaussianMixture


class TestReal(RealModelContract):
    name = "gaussian_mixture"
    cls = GaussianMixture
    config = {"event_shape": (3,), "num_components": 2}
    x = REAL
    gain = None  # EM.


class TestMass(TotalMassContract):
    cls = GaussianMixture
    configs = {"1": {"event_shape": (1,), "num_components": 2}, "2": {"event_shape": (2,), "num_components": 2}}
