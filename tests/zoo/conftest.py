import json

import numpy as np
import pytest

RECIPE = {
    "model": {"class": "RealNVP", "num_layers": 2, "hidden_units": [8], "dropout": 0.1},
    "training": {"epochs": 3, "learning_rate": 0.01, "schedule": "cosine", "ema_momentum": 0.5, "seed": 5, "xla": False},
    "published": {"name": "A paper", "value": 1e6, "unit": "nats", "source": "nowhere"},
}


@pytest.fixture(scope="session")
def rows_csv(tmp_path_factory):
    """300 rows of 3 correlated columns."""
    x = np.random.default_rng(0).normal(size=(300, 3)) @ [[1, 0.8, 0], [0, 0.6, 0], [0, 0, 20]]
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    np.savetxt(path, x, delimiter=",", header="a,b,c", comments="")
    return path


@pytest.fixture(scope="session")
def recipe(rows_csv):
    """The sections of a small, whole recipe."""
    return {**RECIPE, "data": {"source": str(rows_csv), "batch_size": 100}}


@pytest.fixture(scope="session")
def finished(recipe, tmp_path_factory):
    """The folder of a finished run of `recipe`."""
    from tfdgm import zoo

    folder = tmp_path_factory.mktemp("runs") / "realnvp_rows"
    zoo.train(recipe, folder, verbose=0, report=lambda line: None)
    return folder


@pytest.fixture
def card(finished):
    return json.loads((finished / "card.json").read_text())
