"""Families: the parameters of one position -> its distribution. Arithmetic in `keras.ops` alone; no weights."""

from tfdgm.families.bernoulli import Bernoulli
from tfdgm.families.categorical import Categorical
from tfdgm.families.discretized_logistic_mixture import DiscretizedLogisticMixture
from tfdgm.families.family import Family
from tfdgm.families.mixture_of_normals import MixtureOfNormals
from tfdgm.families.normal import Normal
from tfdgm.families.of_levels import of_levels

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogisticMixture", "Family", "MixtureOfNormals", "Normal", "of_levels"]
