from tfdgm.families.bernoulli import Bernoulli
from tfdgm.families.categorical import Categorical
from tfdgm.families.discretized_logistic_mixture import DiscretizedLogisticMixture


def of_levels(levels, num_components=None):
    """The family of integers 0..levels-1: a `DiscretizedLogisticMixture` of `num_components`, or without them (None or 0) one
    parameter a level: `Categorical`, and `Bernoulli` where there are two."""
    if num_components:
        return DiscretizedLogisticMixture(levels, num_components)
    return Bernoulli() if levels == 2 else Categorical(levels)
