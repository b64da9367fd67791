import pytest
from contracts.conditional_model import ConditionalModelContract
from contracts.integer_model import IntegerModelContract
from contracts.real_model import RealModelContract
from contracts.rows import CONDITION, FOUR_LEVELS, REAL
from contracts.total_mass import TotalMassContract

from tfdgm.models import RealNVP

SMALL = {"event_shape": (3,), "hidden_units": (8, 8), "num_layers": 2, "activation": "tanh"}


class TestUnderCondition(ConditionalModelContract, RealModelContract):
    name = "realnvp_condition"
    cls = RealNVP
    config = {**SMALL, "condition_shape": (2,)}
    x, condition = REAL, CONDITION


@pytest.mark.slow
class TestReal(RealModelContract):
    name = "realnvp"
    cls = RealNVP
    config = SMALL
    x = REAL


@pytest.mark.slow
class TestLevels(IntegerModelContract):
    name = "realnvp_levels"
    cls = RealNVP
    config = {**SMALL, "levels": 4}
    x = FOUR_LEVELS


class TestMass(TotalMassContract):
    cls = RealNVP
    configs = {"2": {"event_shape": (2,), "num_layers": 2, "hidden_units": (8,)}}
