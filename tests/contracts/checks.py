"""Assertions about the checks of `tfdgm.tasks`."""

import itertools
import math

import numpy as np

from tfdgm.tasks import density_checks


def passes(check):
    """Asserts a `Check`, showing it when it fails; a skipped one fails too."""
    assert check.passed, check


def sums_to_1(log_prob, event_shape, levels, tolerance):
    """Asserts that the probabilities of all events of integers 0..levels-1 add up to 1."""
    events = np.array(list(itertools.product(range(levels), repeat=math.prod(event_shape))), np.int32)
    log_probs = density_checks.in_chunks(log_prob, events.reshape(-1, *event_shape))
    passes(density_checks.total_probability("sum", log_probs, tolerance))
