import warnings

import numpy as np
import pytest

from tfdgm.non_finite import NonFinite, NonFiniteScoresWarning


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([[1.0, -3], [2]], None),
        ([[1, np.nan], [2]], "1 of 3 scores are -inf or NaN, the first that of row 1, counted from 0"),
        ([[1, 2], [3, -np.inf, np.nan], [np.inf]], "3 of 6 .* row 3,"),
    ],
)
def test_counts_over_parts(parts, message):
    found = NonFinite()
    for part in parts:
        found.add(np.array(part))
    if message is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.warn()
    else:
        with pytest.warns(NonFiniteScoresWarning, match=message):
            found.warn()
