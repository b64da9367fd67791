import keras
import numpy as np
from keras import ops

#: Rounds of widening the bracket, and of steps into it.
WIDENINGS, ITERATIONS = 20, 60


def numerical_inverse(forward, x):
    """The inverse of an increasing map of the reals onto themselves: x -> (z, log dz/dx), with x = f(z).

    A bracket around x is widened 20 times at most, to +-1e12. Then come 60 safeguarded steps: Newton's where it stays within the
    bracket and is at most half the step before, else to the bracket's middle; in float64 that is 1e-12, relative, for x up to
    1e6. Two more steps of Newton's method, differentiated, give the derivatives of the implicit function (dz/dx = 1 / f',
    dz/dparams = - f_params / f'), first and second ones: each step squares the error, of the derivatives too.

    Args:
      forward: z [...] -> (x, log dx/dz), of `Elementwise.forward` with its parameters.
      x: [...].

        z, log_det = numerical_inverse(lambda z: elementwise.forward(params, z), x)
    """
    target, number = ops.stop_gradient(x), ops.convert_to_tensor(0)
    epsilon = float(np.finfo(keras.backend.standardize_dtype(x.dtype)).eps)

    def widen(i, low, high):
        too_high, too_low = forward(low)[0] > target, forward(high)[0] < target
        width = high - low
        return i + 1, ops.where(too_high, low - 4 * width, low), ops.where(too_low, high + 4 * width, high)

    def narrow(i, z, step, low, high):
        y, log_slope = forward(z)
        low, high = ops.where(y < target, z, low), ops.where(y < target, high, z)
        newton = (target - y) * ops.exp(-log_slope)
        close = ops.abs(newton) <= 4 * ops.abs(z) * epsilon + epsilon  # Rounding's steps get no smaller.
        good = (z + newton >= low) & (z + newton <= high) & (close | (ops.abs(newton) <= step / 2))
        step = ops.where(good, newton, (low + high) / 2 - z)
        return i + 1, z + step, ops.abs(step), low, high

    _, low, high = ops.while_loop(
        lambda i, *_: i < WIDENINGS, widen, (number, target - 1, target + 1), maximum_iterations=WIDENINGS
    )
    loop = (number, (low + high) / 2, high - low, low, high)
    _, z, *_ = ops.while_loop(lambda i, *_: i < ITERATIONS, narrow, loop, maximum_iterations=ITERATIONS)
    z = ops.stop_gradient(z)
    for _ in range(2):
        y, log_slope = forward(z)
        z = z - (y - x) * ops.exp(-log_slope)
    return z, -forward(z)[1]
