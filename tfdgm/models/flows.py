import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdgm.bijectors import ActNorm, Bijector, Chain, ScaledSigmoid
from tfdgm.distributions import Dequantized, Distribution, Flow


def default_widths(event_shape: Sequence[int], condition_shape: Sequence[int] | None, most: int) -> tuple[int, int]:
    """Of the hidden layers of a flow's networks: 16 units a dimension, those of the condition included, from 64 to `most`."""
    size = math.prod(event_shape) + (0 if condition_shape is None else math.prod(condition_shape))
    return (min(most, max(64, 16 * size)),) * 2


def flow_over(
    bijectors: Sequence[Bijector],
    event_shape: Sequence[int],
    levels: int | Sequence[int | None] | None,
    standardize: bool,
    condition_shape: Sequence[int] | None,
    dtype: keras.DTypePolicy,
    base: Distribution | None = None,
) -> Distribution:
    """A Flow through `bijectors` (data side first) with the preprocessing of the named flows, over integers where `levels` says.

    Preprocessing of integers: uniform dequantization, then the logit (`ScaledSigmoid`). Of all: standardisation.
    """
    size = math.prod(event_shape)
    first = [ScaledSigmoid(levels, dtype=tf.as_dtype(dtype.compute_dtype))] if levels else []
    if standardize:
        first.append(ActNorm(size, trainable=False, dtype=dtype, name="standardize"))
    compute_dtype = tf.as_dtype(dtype.compute_dtype)
    chain = Chain([*first, *bijectors], dtype=compute_dtype)
    flow = Flow(chain, event_shape, base=base, condition_shape=condition_shape, dtype=compute_dtype)
    return Dequantized(flow, levels) if levels else flow
