import collections
import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

pytest.register_assert_rewrite("contracts")

# TensorFlow is imported by the tests: pytest-xdist's controller, which runs none, does without.


@pytest.fixture(autouse=True)
def seeded():
    """Fixed initial weights and shuffles; every test may run alone or in any order."""
    import keras

    keras.utils.set_random_seed(1)


@pytest.fixture
def eagerly(request):
    """Computes op by op, unless a test is marked `graph`: to trace and compile takes several times as long as to compute once.
    That graphs compute the same is asked of every network (`contracts.network`) and of every model (its SavedModel)."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(request.node.get_closest_marker("graph") is None)
    yield
    tf.config.run_functions_eagerly(False)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="the slow tests, too")


def pytest_collection_modifyitems(config, items):
    """Without --all, slow tests are left out. Files that hold some come first, so that with several processes what
    starts last is short."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    if not config.getoption("--all"):
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    files = {item.path for item in slow}
    items.sort(key=lambda item: item.path not in files)
    # Tracing makes millions of objects; looking for garbage among them and all that was imported took a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


_seconds = collections.Counter()


def pytest_runtest_logreport(report):
    _seconds[report.nodeid.split("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter, config):
    """The files that take longest, of all processes together."""
    if len(_seconds) > 1:
        terminalreporter.section("slowest files")
        for path, seconds in _seconds.most_common(10):
            terminalreporter.line(f"{seconds:7.1f} s  {path}")
    if not config.getoption("--all"):
        terminalreporter.line("The slow tests were left out; --all runs them.")
