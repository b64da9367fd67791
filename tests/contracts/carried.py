import numpy as np
import pytest
from contracts.checks import passes
from contracts.weights import randomize

from tfdgm.bijectors import Coupling, MaskedAutoregressive, MaskedAutoregressiveLayers, Parametric
from tfdgm.networks import MADE, DenseNetwork
from tfdgm.tasks import bijector_checks


def made(f, order="left-to-right"):
    return MADE((4,), params_size=f.params_size, hidden_units=(12,), activation="tanh", input_order=order, dtype="float64")


#: What carries an elementwise map f, over four dimensions.
CARRIERS = {
    "Coupling": lambda f: Coupling(
        DenseNetwork(2, 2 * f.params_size, hidden_units=(8,), activation="tanh", dtype="float64"),
        f,
        np.array([False, True, True, False]),
    ),
    "MaskedAutoregressive": lambda f: MaskedAutoregressive(made(f), f),
    "MaskedAutoregressiveLayers": lambda f: MaskedAutoregressiveLayers([made(f), made(f, "right-to-left")], f),
    "Parametric": lambda f: Parametric(f, (4,), dtype="float64"),
}


@pytest.mark.usefixtures("eagerly")
class CarriedContract:
    """Tests of an elementwise map `f` in every carrier."""

    f = None
    #: Of rows after a round trip and of log-dets, and of log-dets against autodiff.
    carried_tolerance, autodiff_tolerance = 1e-10, 1e-9

    @pytest.mark.parametrize("carrier", CARRIERS)
    def test_round_trip_and_log_det_in_a_carrier(self, carrier):
        bijector = randomize(CARRIERS[carrier](self.f), scale=0.7)
        x = np.random.default_rng(0).normal(size=(6, 4)) * 1.5
        maps = bijector.inverse_and_log_det, bijector.forward_and_log_det
        for there, back in (maps, maps[::-1]):
            passes(bijector_checks.round_trip("rows", there, back, x, self.carried_tolerance))
            passes(bijector_checks.log_dets_opposite("rows", there, back, x, self.carried_tolerance))
        passes(bijector_checks.log_det_against_autodiff("x -> z", maps[0], x, self.autodiff_tolerance))
