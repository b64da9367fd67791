import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    """Fixed initial weights and shuffles; every test may run alone or in any order."""
    keras.utils.set_random_seed(1)


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that with several processes what starts last is short."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
