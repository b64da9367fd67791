import math

import keras
from keras import ops

from tfdgm.layers.noise_rows import first_noise_row


class Dropout(keras.layers.Layer):
    """Keras's `Dropout`, with a mask that hashes each element's number with the seed and the step: y = x mask / (1 - rate).

    Srivastava et al. 2014. XLA makes random numbers on CPUs so slowly that they took four fifths of a MADE's training step;
    this mask costs next to nothing. The hash is murmur3's finalizer, once with the seed and once with the step's number.

    Args:
      rate: fraction of elements set to 0, in training only.
      seed: of the masks.
    """

    def __init__(self, rate: float, *, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate}")
        self.rate, self.seed = rate, seed
        # An ordinary weight, unlike a SeedGenerator's state, which .keras files leave out: training goes on as if unbroken.
        if rate:
            self.step = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, aggregation="only_first_replica", name="step"
            )
        self.built = True

    def call(self, x, training=False):
        if not training or not self.rate:
            return x
        step = self.step + 1  # A tensor: under TensorFlow, `convert_to_tensor` leaves a variable one, to be read after `assign`.
        self.step.assign(step)
        shape = ops.shape(x)
        # In a batch that is spread over replicas, elements are numbered through all of it.
        first = first_noise_row() * math.prod(shape[1:])
        bits = ops.cast(ops.reshape(ops.arange(math.prod(shape), dtype="int32") + first, shape), "uint32")
        # Networks number the seeds of their layers: these start far from each other, or one mask would be the next one shifted.
        start = ops.convert_to_tensor(self.seed * 0x9E3779B1 % 2**32, "uint32")
        for number in (start, ops.cast(step, "uint32")):
            bits = _mix(_low(bits + number))
        keep = ops.cast(ops.right_shift(bits, 8), "float32") >= self.rate * 2.0**24
        return x * ops.cast(keep, x.dtype) / (1 - self.rate)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def _mix(bits):
    """murmur3's 32-bit finalizer (Appleby): every input bit moves every output bit."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = _low(ops.bitwise_xor(bits, ops.right_shift(bits, shift)) * ops.convert_to_tensor(factor, "uint32"))
    return ops.bitwise_xor(bits, ops.right_shift(bits, 16))


def _low(bits):
    """The low 32 bits. Under PyTorch, Keras's uint32 is an int64 (3.15)."""
    return bits if keras.backend.backend() != "torch" else ops.bitwise_and(bits, ops.convert_to_tensor(0xFFFFFFFF, "uint32"))
