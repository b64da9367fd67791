"""Sizes that follow the data's, and what a flow over one dimension can be."""

import warnings

import numpy as np
import pytest

import tfdgm


@pytest.mark.parametrize(
    ("name", "size", "condition", "width"),
    [("MAF", 3, None, 64), ("MAF", 6, (2,), 128), ("MAF", 43, None, 512), ("IAF", 3, None, 64), ("RealNVP", 40, None, 256)],
)
def test_networks_are_as_wide_as_the_data_asks(name, size, condition, width):
    model = getattr(tfdgm.models, name)((size,), num_layers=1, condition_shape=condition)
    widths = {weight.shape[-1] for weight in model.trainable_weights if len(weight.shape) == 2}
    assert width in widths and max(widths) == max(width, 2 * size)
    config = model.get_config()
    assert config["hidden_units"] == (width, width)  # Whatever becomes of the rule.
    assert type(model).from_config(config).get_config() == config


def test_what_is_given_is_taken():
    assert tfdgm.models.MAF((3,), num_layers=1, hidden_units=(5,)).get_config()["hidden_units"] == (5,)


def test_a_table_of_three_columns_is_no_million_weights():
    assert sum(int(np.prod(weight.shape)) for weight in tfdgm.models.MAF((3,)).trainable_weights) < 30_000


@pytest.mark.parametrize(("name", "size", "warns"), [("MAF", 1, True), ("IAF", 1, True), ("MAF", 2, False), ("MADE", 1, False)])
def test_a_flow_that_is_a_gaussian_says_so(name, size, warns, eagerly):
    options = {"levels": None} if name == "MADE" else {"num_layers": 2}
    model = getattr(tfdgm.models, name)((size,), hidden_units=(4,), **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.adapt(np.random.default_rng(0).normal(size=(100, size)))
    assert ["can only be a Gaussian" in str(w.message) for w in caught] == [True] * warns
