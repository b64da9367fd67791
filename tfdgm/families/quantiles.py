"""Where the components of a mixture start: apart, and where the data are."""

from keras import ops

from tfdgm.layers import normal_quantile

_MOST_ROWS = 8192  # Sorted for quantiles.


def middles(num_components):
    """The middles of K equal parts of (0, 1), [K]."""
    return (ops.arange(num_components, dtype="float64") + 0.5) / num_components


def quantiles_and_width(x, num_components, least_width):
    """Of rows x [n, *event]: K quantiles of each position [*event, K], no two of them equal, and the width of kernels around them
    [*event, 1], sd / K^(1/5) as in Silverman 1986, section 3.4.2, but `least_width` where that is less."""
    x = x[:: -(-x.shape[0] // _MOST_ROWS)]
    width = ops.maximum(ops.std(x, axis=0)[..., None] / num_components**0.2, least_width)
    levels = ops.cast(middles(num_components), x.dtype)
    quantiles = ops.moveaxis(ops.quantile(x, levels, axis=0), 0, -1)
    # Values that come often are several quantiles at once.
    return quantiles + 0.1 * width * normal_quantile(levels), width
