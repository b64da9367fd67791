from keras import ops

from tfdgm.elementwise.elementwise import Elementwise
from tfdgm.layers import bounded_log_scale


class Affine(Elementwise):
    """x = z exp(a) + m, a = bounded_log_scale(r); params = (m, r), log dx/dz = a.

    Dinh et al. 2017, arXiv:1605.08803, eq. 7; Papamakarios et al. 2017, arXiv:1705.07057, eq. 3-4. We differ: a is within +-7,
    which keeps float32 inverses accurate.

        x, log_det = Affine().forward(params, z)  # [..., 2], [...] -> [...], [...]
    """

    params_size = 2

    def forward(self, params, z):
        m, a = params[..., 0], bounded_log_scale(params[..., 1])
        return z * ops.exp(a) + m, a

    def inverse(self, params, x):
        m, a = params[..., 0], bounded_log_scale(params[..., 1])
        return (x - m) * ops.exp(-a), -a
