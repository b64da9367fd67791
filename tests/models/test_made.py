import pytest
from contracts.conditional_model import ConditionalModelContract
from contracts.integer_model import IntegerModelContract
from contracts.mixture_heads import MixtureHeadsContract
from contracts.real_model import RealModelContract
from contracts.rows import BINARY, CONDITION, FOUR_LEVELS, REAL
from contracts.total_mass import TotalMassContract

from tfdgm.models import MADE

SMALL = {"hidden_units": (8, 8)}


class TestLevels(IntegerModelContract):
    name = "made_categorical"
    cls = MADE
    config = {"event_shape": (3,), "levels": 4, **SMALL}
    x = FOUR_LEVELS


class TestReal(RealModelContract):
    name = "made_real"
    cls = MADE
    config = {"event_shape": (3,), "levels": None, "num_components": 3, **SMALL}
    x = REAL


@pytest.mark.slow
class TestBinary(IntegerModelContract):
    name = "made_binary"
    cls = MADE
    config = {"event_shape": (2, 2), **SMALL}
    x = BINARY


@pytest.mark.slow
class TestBinaryUnderCondition(ConditionalModelContract, IntegerModelContract):
    name = "made_binary_condition"
    cls = MADE
    config = {"event_shape": (2, 2), "condition_shape": (2,), **SMALL}
    x, condition = BINARY, CONDITION


class TestMass(TotalMassContract):
    cls = MADE
    configs = {
        "1": {"event_shape": (1,), "levels": None, "num_components": 3, "hidden_units": (8,)},
        "2": {"event_shape": (2,), "levels": None, "num_components": 3, "hidden_units": (8,)},
    }


class TestHeads(MixtureHeadsContract):
    cls = MADE
    heads = {
        "several dimensions": {"event_shape": (3,), "levels": None, "hidden_units": (8,)},
        "one dimension": {"event_shape": (1,), "levels": None, "hidden_units": (8,)},
        "condition": {"event_shape": (1,), "levels": None, "hidden_units": (8,), "condition_shape": (2,)},
    }
