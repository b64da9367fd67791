import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

import tfdgm.models  # noqa: F401

# Tracing makes millions of objects; looking for garbage among them took a tenth of the time.
gc.freeze()
gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def seeded():
    """Fixed initial weights and shuffles; every test may run alone or in any order."""
    keras.utils.set_random_seed(1)


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that with several processes what starts last is short."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
