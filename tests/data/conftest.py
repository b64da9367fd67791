import os
import pathlib

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Each test prepares into a cache of its own, and sees no real data folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TFDGM_CACHE_DIR", str(folder))
    monkeypatch.delenv("TFDGM_DATA_DIR", raising=False)
    return folder


_REAL = os.environ.get("TFDGM_DATA_DIR")


@pytest.fixture
def real_data():
    """A function from a set's folder to the real data folder that holds it; skips the test without it."""

    def find(name):
        if not _REAL or not pathlib.Path(_REAL, name).is_dir():
            pytest.skip(f"needs the real data {name}/ in the folder TFDGM_DATA_DIR")
        return _REAL

    return find
