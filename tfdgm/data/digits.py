"""scikit-learn's embedded digits."""

import hashlib

import numpy as np

from tfdgm.data.content import Content, Part


def read(condition: str | None = None) -> Content:
    """1797 grey images of digits, levels 0..16, event shape (8, 8); `condition="label"` is one-hot [10].

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository 1998 (its test
    part), CC BY 4.0; shipped inside scikit-learn.
    """
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    x = bunch.images.astype(np.uint8)
    label = np.eye(10, dtype=np.float32)[bunch.target] if condition == "label" else None
    return Content(
        "digits",
        {"all": Part(x, label)},
        17,
        hashlib.sha256(x.tobytes()).hexdigest(),
        "scikit-learn's embedded 8x8 grey images of handwritten digits, levels 0..16",
        classes=None if label is None else tuple("0123456789"),
    )
