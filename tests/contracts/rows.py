"""48 rows of data of each kind that tiny models learn from."""

import numpy as np

_random = np.random.default_rng(0)
N = 48
REAL = (_random.normal(size=(N, 3)) @ _random.normal(size=(3, 3)) * [1, 3, 10] + [0, 5, -50]).astype("float32")
CONDITION = _random.normal(size=(N, 2)).astype("float32")
#: [n, 2, 2] of 0 and 1, of 0 to 2, and [n, 4, 4] of 0 and 1; two pixels are always equal, so that there is something to learn.
BINARY = _random.integers(0, 2, (N, 2, 2))
BINARY[:, 1, 1] = BINARY[:, 0, 0]
THREE_LEVELS = BINARY + BINARY[:, ::-1]
LARGER_BINARY = np.tile(BINARY, (1, 2, 2))
#: [n, 3] of 0 to 3.
FOUR_LEVELS = _random.integers(0, 4, (N, 3))
FOUR_LEVELS[:, 2] = FOUR_LEVELS[:, 0]
#: [n, 1, 2, 3] and [n, 2, 2, 3] of 0 to 7, three colours that are equal.
COLOURS = np.repeat(_random.integers(0, 8, (N, 1, 2, 1)), 3, axis=-1)
COLOURS_OF_TWO_ROWS = np.repeat(COLOURS, 2, axis=1)
