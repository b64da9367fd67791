import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

# TensorFlow is imported by the tests: pytest-xdist's controller, which runs none, does without.


@pytest.fixture(autouse=True)
def seeded():
    """Fixed initial weights and shuffles; every test may run alone or in any order."""
    import keras

    keras.utils.set_random_seed(1)


@pytest.fixture
def eagerly(request):
    """Computes op by op, unless a test is marked `graph`: to trace and compile takes several times as long as to compute once.
    That graphs compute the same is asked of every network (tests/contracts.py) and of every model (its SavedModel)."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(request.node.get_closest_marker("graph") is None)
    yield
    tf.config.run_functions_eagerly(False)


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that with several processes what starts last is short."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    # Tracing makes millions of objects; looking for garbage among them and all that was imported took a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
