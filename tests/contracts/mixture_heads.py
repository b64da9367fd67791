import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfdgm

K = 4


@pytest.mark.usefixtures("eagerly")
class MixtureHeadsContract:
    """Components of a model's mixtures start apart: those that start equal stay equal where no input tells them apart. A subclass
    gives `cls` and `heads`, configurations by name, to which K components, and 16 levels but for `levels`, are added."""

    cls = None
    heads = {}

    def pytest_generate_tests(self, metafunc):
        if "head" in metafunc.fixturenames:
            metafunc.parametrize("head", self.heads)

    def make_head(self, head):
        return self.cls(**{"levels": 16, "num_components": K, "dtype": "float64", **self.heads[head]})

    def test_components_are_apart_without_data(self, head):
        assert (np.diff(np.sort(means_of_no_input(self.make_head(head)))) > 0.1).all()

    def test_components_are_at_the_quantiles_of_data(self, head):
        model = self.make_head(head)
        random = np.random.default_rng(0)
        if model.levels is None:
            x = random.normal(size=(400, *model.event_shape)) * 5 + 20
            expected = scipy.stats.norm.ppf((np.arange(K) + 0.5) / K)  # Of x standardised.
        else:
            x = random.integers(4, 12, (400, *model.event_shape))  # Half of the levels, in the middle.
            expected = (np.array([4.5, 6.5, 8.5, 10.5]) - 7.5) / 7.5
        condition = None if model.condition_shape is None else random.normal(size=(400, *model.condition_shape))
        model.adapt(x, condition)
        found = np.sort(means_of_no_input(model))
        np.testing.assert_allclose(found, np.repeat(expected[None], len(found), axis=0), atol=0.25 * np.ptp(expected))
        assert (np.diff(found) > 0.1 * np.ptp(expected)).all()


def means_of_no_input(model):
    """The components' means of each position [D, K] where all weights but the output's biases say nothing."""
    distribution = (
        model.distribution if isinstance(model.distribution, tfdgm.distributions.Autoregressive) else model.distribution.base
    )
    network = distribution.network
    for weight in network.weights:
        if "bias" not in weight.path.split("/")[-1]:
            weight.assign(tf.zeros_like(weight))
    given = {} if network.condition_shape is None else {"condition": tf.zeros((1, *network.condition_shape), tf.float64)}
    params = network(tf.zeros((1, *network.event_shape), tf.float64), **given).numpy()
    return params.reshape(-1, 3, K)[:, 1]
