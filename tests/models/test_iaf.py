from contracts.real_model import RealModelContract
from contracts.rows import REAL
from contracts.total_mass import TotalMassContract

from tfdgm.models import IAF


class TestReal(RealModelContract):
    name = "iaf"
    cls = IAF
    config = {"event_shape": (3,), "hidden_units": (8, 8), "num_layers": 2, "activation": "tanh"}
    x = REAL


class TestMass(TotalMassContract):
    cls = IAF
    configs = {"2": {"event_shape": (2,), "num_layers": 2, "hidden_units": (8,)}}
