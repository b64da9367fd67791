import pytest
import tensorflow as tf
from contracts.weights import randomize

import tfdgm
from tfdgm import networks
from tfdgm.distributions import Autoregressive, Flow


def made(params_size=2, event_shape=(3,), **kwargs):
    config = {"hidden_units": (12,), "activation": "tanh", "dtype": "float64", **kwargs}
    return randomize(networks.MADE(event_shape, params_size=params_size, **config))


def flow(size=3, *, base=None, **kwargs):
    return Flow(tfdgm.bijectors.MaskedAutoregressive(made(event_shape=(size,), **kwargs)), (size,), base=base, dtype=tf.float64)


class DistributionContract:
    """Tests of one distribution; a subclass gives `make_unconditional()`: one over events [3] that takes no condition."""

    def make_unconditional(self):
        raise NotImplementedError

    def test_a_condition_that_nobody_takes_is_an_error(self):
        distribution = self.make_unconditional()
        x, c = tf.zeros((2, 3), distribution.dtype), tf.zeros((2, 1), tf.float64)
        seeds = tf.constant([[1, 0], [1, 1]], tf.int32)
        noise = distribution.draw_noise(seeds)
        calls = {
            "log_prob": lambda: distribution.log_prob(x, condition=c),
            "traced": lambda: tf.function(distribution.log_prob)(x, condition=c),
            "prob": lambda: distribution.prob(x, condition=c),
            "log_prob_of_rows": lambda: distribution.log_prob_of_rows(x, c),
            "sample": lambda: distribution.sample(2, seed=1, condition=c),
            "from_noise": lambda: distribution.from_noise(noise, c),
            "adapt": lambda: distribution.adapt_to_rows(x, c),
        }
        if hasattr(distribution, "to_base"):
            calls["to_base"] = lambda: distribution.to_base(x, c)
            calls["from_base"] = lambda: distribution.from_base(noise, c)
        if isinstance(distribution, Autoregressive):
            calls["log_prob_of_positions"] = lambda: distribution.log_prob_of_positions(x, c)
            calls["complete"] = lambda: distribution.complete_from_noise(noise, x, x, c)
        for name, call in calls.items():
            with pytest.raises(ValueError, match=r"takes no `condition` \(condition_shape=None\). Received: one"):
                call()
                pytest.fail(name)
