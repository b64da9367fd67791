import math

from keras import ops

from tfdgm.arguments import check_whole
from tfdgm.elementwise.elementwise import Elementwise

_LEAST = 1e-3  # Of a bin's width and height, as a part of the interval, and of a slope at a knot.


class RationalQuadraticSpline(Elementwise):
    """A monotone spline of K bins on [-B, B], the identity outside: Durkan et al. 2019, arXiv:1906.04032, section 3.1, eq. 4-8.

    In the bin from (z_0, x_0), w wide and h high, with slopes d_0 and d_1 at its ends, s = h / w, t = (z - z_0) / w:

        x = x_0 + h (s t^2 + d_0 t (1 - t)) / (s + (d_1 + d_0 - 2 s) t (1 - t))
        dx/dz = s^2 (d_1 t^2 + 2 s t (1 - t) + d_0 (1 - t)^2) / (s + (d_1 + d_0 - 2 s) t (1 - t))^2

    params = K widths, K heights (softmax; 1/1000 of the interval at least) and K - 1 slopes at the inner knots (softplus; 1/1000
    at least); at -B and B the slope is 1. We differ: parameters of zero are slopes of 1, so that they are the identity.

        x, log_det = RationalQuadraticSpline().forward(params, z)  # [..., 23], [...] -> [...], [...]

    Args:
      num_bins: K.
      bound: B.
    """

    def __init__(self, num_bins: int = 8, bound: float = 3.0):
        check_whole(num_bins=num_bins, maximum=500)
        if not bound > 0:
            raise ValueError(f"`bound` must be above 0. Received: bound={bound}")
        self.num_bins, self.bound, self.params_size = num_bins, float(bound), 3 * num_bins - 1

    def forward(self, params, z):
        widths, heights, slopes = self._knots(params)
        inside = ops.abs(z) < self.bound
        z_in = ops.where(inside, z, 0.0)
        w, z_0, h, x_0, d_0, d_1 = self._bin_of(z_in, widths, heights, slopes)
        t = ops.clip((z_in - z_0) / w, 0.0, 1.0)
        x = x_0 + h * self._part_of_height(t, h / w, d_0, d_1)
        return ops.where(inside, x, z), ops.where(inside, self._log_slope(t, h / w, d_0, d_1), 0.0)

    def inverse(self, params, x):
        widths, heights, slopes = self._knots(params)
        inside = ops.abs(x) < self.bound
        x_in = ops.where(inside, x, 0.0)
        h, x_0, w, z_0, d_0, d_1 = self._bin_of(x_in, heights, widths, slopes)
        s, y = h / w, ops.clip((x_in - x_0) / h, 0.0, 1.0)
        # a t^2 + b t + c = 0, divided by h: the root between 0 and 1, in the form that does not cancel. Floors are for rounding.
        b, c = d_0 - y * (d_1 + d_0 - 2 * s), -s * y
        a, is_positive = s - b, b >= 0
        root = ops.sqrt(ops.maximum(b * b - 4 * a * c, 1e-30))
        t = ops.where(
            is_positive, -2 * c / ops.where(is_positive, b + root, 1.0), (root - b) / ops.where(is_positive, 1.0, 2 * a)
        )
        t = ops.clip(t, 0.0, 1.0)
        return ops.where(inside, z_0 + t * w, x), ops.where(inside, -self._log_slope(t, s, d_0, d_1), 0.0)

    def _knots(self, params):
        """Widths and heights [..., K], and slopes [..., K + 1]."""
        k = self.num_bins
        raw = params[..., :k], params[..., k : 2 * k]
        widths, heights = (2 * self.bound * (_LEAST + (1 - _LEAST * k) * ops.softmax(u, axis=-1)) for u in raw)
        slopes = _LEAST + ops.softplus(params[..., 2 * k :] + math.log(math.expm1(1 - _LEAST)))
        ones = ops.ones_like(widths[..., :1])
        return widths, heights, ops.concatenate([ones, slopes, ones], axis=-1)

    def _bin_of(self, value, sizes, sizes_there, slopes):
        """Of the bin that `value` [...] lies in: its size and start on this side, those on the other, and its slopes."""
        ends = ops.cumsum(sizes, axis=-1) - self.bound
        number = ops.sum(ops.cast(value[..., None] >= ends[..., :-1], "int32"), axis=-1)
        chosen = ops.one_hot(number, self.num_bins, dtype=sizes.dtype)

        def pick(of_bins):
            return ops.sum(chosen * of_bins, axis=-1)

        starts, starts_there = ends - sizes, ops.cumsum(sizes_there, axis=-1) - self.bound - sizes_there
        return [pick(u) for u in (sizes, starts, sizes_there, starts_there, slopes[..., :-1], slopes[..., 1:])]

    @staticmethod
    def _part_of_height(t, s, d_0, d_1):
        return (s * t * t + d_0 * t * (1 - t)) / (s + (d_1 + d_0 - 2 * s) * t * (1 - t))

    @staticmethod
    def _log_slope(t, s, d_0, d_1):
        slope = d_1 * t * t + 2 * s * t * (1 - t) + d_0 * (1 - t) * (1 - t)
        return 2 * ops.log(s) + ops.log(slope) - 2 * ops.log(s + (d_1 + d_0 - 2 * s) * t * (1 - t))
