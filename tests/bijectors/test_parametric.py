from contracts.bijector import BijectorContract
from contracts.weights import randomize

from tfdgm.bijectors import (
    Parametric,
)
from tfdgm.elementwise import Affine


class TestParametric(BijectorContract):
    def make(self, dtype):
        return randomize(Parametric(Affine(), (self.size,), dtype=dtype))


class TestParametricWithCondition(BijectorContract):
    condition_shape = (3,)

    def make(self, dtype):
        return randomize(Parametric(Affine(), (self.size,), condition_shape=(3,), dtype=dtype))
