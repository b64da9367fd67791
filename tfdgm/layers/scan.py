import keras
from keras import ops


def scan(f, carry, xs):
    """[h_1..h_T], stacked, of (h_t, ...) = carry_t = f(carry_(t-1), x_t); xs [T, ...], T static. Also differentiable under XLA.

    `keras.ops.scan` gives TensorFlow's loop no bound on its length, and XLA then refuses the gradient. Delete this when it does.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.scan(lambda carry, x: (f(carry, x),) * 2, carry, xs)[1][0]
    import tensorflow as tf

    size, first = xs.shape[0], carry[0]
    inputs = tf.TensorArray(xs.dtype, size, element_shape=xs.shape[1:]).unstack(xs)
    outputs = tf.TensorArray(first.dtype, size, element_shape=first.shape)

    def body(t, carry, outputs):
        carry = f(carry, inputs.read(t))
        return t + 1, carry, outputs.write(t, carry[0])

    loop = tf.while_loop(lambda t, *_: t < size, body, (0, carry, outputs), maximum_iterations=size)
    return loop[-1].stack()
