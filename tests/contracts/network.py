import numpy as np
import tensorflow as tf
from contracts.checks import passes

from tfdgm.tasks import network_checks


def check_autoregressive(network, condition=None):
    """Exactly the outputs after an input in the order move with it; both ways of generating agree with `call` to 1e-10."""
    rank = np.argsort(network.order)
    moved = network_checks.connections(network, condition, rows=4)
    np.testing.assert_array_equal(moved, rank[None, :] > rank[:, None])
    for by_steps in (False, True):
        passes(network_checks.generation_equals_call("generate", network, condition, by_steps=by_steps, tolerance=1e-10))


def generated(network, *, by_steps, jit_compile, condition=None, n=3):
    """(x, params) of x_t = m_t + exp(tanh(r_t)) u_t on fixed noise u, where x_t depends on the position's number as well."""
    noise = tf.constant(np.random.default_rng(3).normal(size=(n, *network.event_shape)), network.compute_dtype)

    def emit(position, params, u):
        return params[:, 0] + tf.exp(tf.tanh(params[:, -1])) * u + 0.01 * tf.cast(position, params.dtype), [params]

    def run():
        generate = network.generate_by_steps if by_steps else network.generate
        x, [params] = generate(emit, noise, condition, output_shapes=[(network.params_size,)])
        return x, params

    return [value.numpy() for value in tf.function(run, jit_compile=jit_compile, autograph=False)()]
