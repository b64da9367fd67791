"""Zoo entries score as they did when tests/zoo/scores.json was written, before the bases were rebuilt (commit fe1d3fc)."""

import json
import pathlib

import numpy as np
import pytest

import tfdgm

ZOO = pathlib.Path(tfdgm.__file__).parents[1] / "zoo"
SCORES = json.loads(pathlib.Path(__file__).with_name("scores.json").read_text())


def test_all_entries_have_scores():
    assert set(SCORES) == {path.parent.name for path in ZOO.glob("*/1")}


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_as_before(name):
    model = tfdgm.load(ZOO / name / "1")
    model.use_xla = False
    condition = None
    if model.condition_shape is not None:
        condition = np.random.default_rng(0).normal(size=(16, *model.condition_shape)).astype("float32")
    random = np.random.default_rng(1)
    shape = (16, *model.event_shape)
    x = random.integers(0, model.levels, shape) if model.levels else random.normal(size=shape).astype("float32")
    # Equal bit for bit on the machine that wrote them; and without XLA here, sums are in another order.
    # Random x is far from the data: some scores are -300,000.
    np.testing.assert_allclose(model.log_prob(x, condition=condition), SCORES[name], rtol=1e-5)
