"""The mean and standard deviation that x and conditions are standardised by."""

import numpy as np


def moments(x):
    """Mean and standard deviation of rows x [n, *shape], each float64 [*shape], of whatever offset and scale."""
    x = np.asarray(x, np.float64)
    from_first = x - x[0]
    largest = np.abs(from_first).max(axis=0)
    # Divided first, or squares of numbers below 1e-160 would be 0.
    deviation = largest * (from_first / np.where(largest > 0, largest, 1)).std(axis=0)
    return x[0] + from_first.mean(axis=0), deviation


def scale_or_one(mean, deviation, dtype):
    """`deviation`, or 1 where numbers of `dtype` around `mean` cannot tell it from 0."""
    limits = np.finfo(dtype)
    resolved = deviation > float(limits.eps) * np.abs(mean) + 4 / float(limits.max)
    return np.where(resolved, deviation, 1.0)
