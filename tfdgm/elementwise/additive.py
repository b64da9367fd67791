from keras import ops

from tfdgm.elementwise.elementwise import Elementwise


class Additive(Elementwise):
    """x = z + m; params = (m,), log dx/dz = 0. Dinh et al. 2015, arXiv:1410.8516, section 3.2 (NICE).

    x, log_det = Additive().forward(params, z)  # [..., 1], [...] -> [...], [...]
    """

    params_size = 1

    def forward(self, params, z):
        return z + params[..., 0], ops.zeros_like(z)

    def inverse(self, params, x):
        return x - params[..., 0], ops.zeros_like(x)
