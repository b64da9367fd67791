import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    """Fixed initial weights and shuffles; every test may run alone or in any order."""
    keras.utils.set_random_seed(1)
