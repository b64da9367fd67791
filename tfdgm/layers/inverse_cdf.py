from keras import ops


def inverse_cdf(probabilities, uniform):
    """The first k with uniform < p_0 + ... + p_k: probabilities [..., K], uniform [...] in (0, 1) -> int32 [...] in 0..K-1."""
    # The last edge is left out, so that rounding cannot give K.
    edges = ops.cumsum(probabilities, axis=-1)[..., :-1]
    return ops.sum(ops.cast(uniform[..., None] >= edges, "int32"), axis=-1)
