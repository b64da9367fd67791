import inspect
from collections.abc import Sequence

from tfdgm import families
from tfdgm.networks.autoregressive_network import AutoregressiveNetwork

#: Arguments of a model that is a network and a family of levels, and their defaults where the network names no others.
DEFAULTS = {"levels": 2, "num_components": None}
_TYPES = {"levels": int, "num_components": int | None}


def parameters_of(network_class: type[AutoregressiveNetwork]) -> list[inspect.Parameter]:
    """The parameters (`inspect.Parameter`) of such a model, but for dtype and name: the event's, the family's, the network's."""
    own = inspect.signature(network_class.__init__).parameters.values()
    event_shape, *rest = [p for p in own if p.name not in ("self", "params_size", "kwargs", *DEFAULTS)]
    given, kind = {**DEFAULTS, **network_class.family_defaults}, inspect.Parameter.KEYWORD_ONLY
    of_family = [inspect.Parameter(name, kind, default=value, annotation=_TYPES[name]) for name, value in given.items()]
    return [event_shape, *of_family, *rest]


def of_levels(
    network_class: type[AutoregressiveNetwork],
    event_shape: Sequence[int],
    *,
    levels: int,
    num_components: int | None,
    **arguments,
) -> tuple[AutoregressiveNetwork, families.Family]:
    """(network, family) of integers 0..levels-1; see `families.of_levels`."""
    family = families.of_levels(levels, num_components)
    if "num_components" in inspect.signature(network_class.__init__).parameters:
        arguments["num_components"] = num_components
    return network_class(event_shape, params_size=family.params_size, levels=levels, **arguments), family
