from contracts.elementwise import ElementwiseContract

from tfdgm.elementwise import Additive


class TestAdditive(ElementwiseContract):
    f = Additive()
