"""Elementwise maps: the parameters of one position -> a monotone map of it. Arithmetic in `keras.ops` alone; no weights."""

from tfdgm.elementwise.additive import Additive
from tfdgm.elementwise.affine import Affine
from tfdgm.elementwise.elementwise import Elementwise
from tfdgm.elementwise.numerical_inverse import numerical_inverse
from tfdgm.elementwise.rational_quadratic_spline import RationalQuadraticSpline

__all__ = ["Additive", "Affine", "Elementwise", "RationalQuadraticSpline", "numerical_inverse"]
