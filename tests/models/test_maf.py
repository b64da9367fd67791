import pytest
from contracts.conditional_model import ConditionalModelContract
from contracts.integer_model import IntegerModelContract
from contracts.real_model import RealModelContract
from contracts.rows import CONDITION, FOUR_LEVELS, REAL
from contracts.total_mass import TotalMassContract

from tfdgm.models import MAF

SMALL = {"event_shape": (3,), "hidden_units": (8, 8), "num_layers": 2, "activation": "tanh"}


class TestUnderCondition(ConditionalModelContract, RealModelContract):
    name = "maf_condition"
    cls = MAF
    config = {**SMALL, "condition_shape": (2,)}
    x, condition = REAL, CONDITION


class TestLevelsAndActNorm(IntegerModelContract):
    name = "maf_levels_act_norm"
    cls = MAF
    config = {**SMALL, "levels": 4, "act_norm": True}
    x = FOUR_LEVELS


@pytest.mark.slow
class TestReal(RealModelContract):
    name = "maf"
    cls = MAF
    config = SMALL
    x = REAL


class TestMass(TotalMassContract):
    cls = MAF
    configs = {
        "1": {"event_shape": (1,), "num_layers": 2, "hidden_units": (8,)},
        "2": {"event_shape": (2,), "num_layers": 2, "hidden_units": (8,), "act_norm": True},
    }
