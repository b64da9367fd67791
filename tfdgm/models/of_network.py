import inspect
from collections.abc import Callable

import keras

from tfdgm import networks
from tfdgm.distributions import Autoregressive
from tfdgm.models.density_model import DensityModel


def init_of(network_class: type[networks.AutoregressiveNetwork]) -> Callable:
    """`__init__` of a model that is an autoregressive network and a family of levels. Its arguments are the network's, with their
    defaults, and the family's `levels` and `num_components`:

        class PixelCNN(DensityModel):
            __init__ = init_of(networks.PixelCNN)
    """
    of_class = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *networks.parameters_of(network_class)]
    types, kind = {"dtype": str | keras.DTypePolicy | None, "name": str | None}, inspect.Parameter.KEYWORD_ONLY
    of_keras = [inspect.Parameter(name, kind, default=None, annotation=of_name) for name, of_name in types.items()]
    signature = inspect.Signature([*of_class, *of_keras])

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        DensityModel.__init__(self, dtype=arguments.pop("dtype"), name=arguments.pop("name"))
        network, family = networks.of_levels(network_class, dtype=self.dtype_policy, **arguments)
        self._set_distribution(Autoregressive.of_new(network, family), arguments["seed"])

    __init__.__signature__ = signature
    return __init__
