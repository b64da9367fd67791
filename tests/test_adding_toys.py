"""What it takes to add a bijector, a family, an elementwise map, a network and a model: the class, and a test of a few lines."""

import math

import keras
import numpy as np
import tensorflow as tf
from contracts.bijector import BijectorContract
from contracts.elementwise import ElementwiseContract
from contracts.integer_model import IntegerModelContract
from contracts.network import NetworkContract
from contracts.real_family import RealFamilyContract
from contracts.rows import FOUR_LEVELS
from keras import ops
from tensorflow_probability import distributions as tfd

import tfdgm
from tfdgm.bijectors import Bijector
from tfdgm.elementwise import Elementwise
from tfdgm.families import Family
from tfdgm.layers import bounded_log_scale
from tfdgm.models.of_network import init_of
from tfdgm.networks import AutoregressiveNetwork


class Negate(Bijector):
    """x = -z."""

    def forward_and_log_det(self, z, condition=None):
        return -z, tf.zeros_like(z[..., 0])

    def inverse_and_log_det(self, x, condition=None):
        return -x, tf.zeros_like(x[..., 0])


class TestNegate(BijectorContract):
    has_weights = False

    def make(self, dtype):
        return Negate(dtype=tf.as_dtype(dtype))


class Logistic(Family):
    """log p(x) = -u - log s - 2 log(1 + e^-u), u = (x - m) / s, params = [m, r], log s = bounded_log_scale(r)."""

    params_size = 2
    is_reparameterized = True

    def log_prob(self, params, x, position=None):
        m, log_s = params[..., 0], bounded_log_scale(params[..., 1])
        u = (x - m) * ops.exp(-log_s)
        return -u - log_s - 2 * ops.softplus(-u)

    def sample(self, params, uniforms, position=None):
        m, log_s, u = params[..., 0], bounded_log_scale(params[..., 1]), uniforms[..., 0]
        return m + ops.exp(log_s) * (ops.log(u) - ops.log1p(-u))

    def distribution(self, params):
        return tfd.Logistic(params[..., 0], ops.exp(bounded_log_scale(params[..., 1])))


class TestLogistic(RealFamilyContract):
    families = [Logistic()]
    mass_tolerance = 1e-5  # Its tails reach beyond the grid.


class Stretch(Elementwise):
    """x = z exp(a), a = bounded_log_scale(r); params = (r,), log dx/dz = a."""

    params_size = 1

    def forward(self, params, z):
        a = bounded_log_scale(params[..., 0])
        return z * ops.exp(a), a

    def inverse(self, params, x):
        a = bounded_log_scale(params[..., 0])
        return x * ops.exp(-a), -a


class TestStretch(ElementwiseContract):
    f = Stretch()


class RunningSum(AutoregressiveNetwork):
    """params_t = w sum_(s < t) x_s + b + V c."""

    def __init__(self, event_shape, *, params_size=1, condition_shape=None, seed=0, **kwargs):
        order = np.arange(math.prod(event_shape))
        super().__init__(event_shape, params_size, order, condition_shape=condition_shape, **kwargs)
        self.of_sum = self._dense(1)
        self.of_condition = None if condition_shape is None else self._dense(math.prod(condition_shape))
        self.built = True

    def _dense(self, size):
        layer = keras.layers.Dense(self.params_size, dtype=self.dtype_policy)
        layer.build((None, size))
        return layer

    def call(self, x, condition=None, training=None):
        before = ops.pad(ops.reshape(self.seen(x), (-1, self.event_size)), [[0, 0], [1, 0]])[:, :-1]
        params = self.of_sum(ops.cumsum(before, axis=1)[..., None])
        if condition is not None:
            params = params + self.of_condition(condition)[:, None]
        return ops.reshape(params, (-1, *self.event_shape, self.params_size))

    def initial_state(self, batch_size, condition=None):
        added = ops.zeros((batch_size, self.params_size), self.compute_dtype)
        return ops.zeros((batch_size,), self.compute_dtype), added if condition is None else self.of_condition(condition)

    def step(self, t, state):
        total, added = state
        return self.of_sum(total[:, None]) + added, state

    def see(self, t, x, state):
        total, added = state
        return total + self.seen(x), added

    def output_biases(self):
        return [self.of_sum.bias]


class TestRunningSum(NetworkContract):
    cls = RunningSum
    base = {"event_shape": (2, 2)}
    configs = {"plain": {}, "condition": {"condition_shape": (3,)}}
    generated_configs = ("condition",)
    has_dropout = False


class RunningSumModel(tfdgm.DensityModel):
    """p(x) = prod_t p(x_t | x_<t), by RunningSum."""

    __init__ = init_of(RunningSum)


class TestRunningSumModel(IntegerModelContract):
    cls = RunningSumModel
    config = {"event_shape": (3,), "levels": 4}
    x = FOUR_LEVELS
