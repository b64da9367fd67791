import inspect

from tfdgm import families

#: Arguments of a model that is a network and a family of levels, and their defaults where the network names no others.
DEFAULTS = {"levels": 2, "num_components": None}


def parameters_of(network_class):
    """The parameters (`inspect.Parameter`) of such a model, but for dtype and name: the event's, the family's, the network's."""
    own = inspect.signature(network_class.__init__).parameters.values()
    event_shape, *rest = [p for p in own if p.name not in ("self", "params_size", "kwargs", *DEFAULTS)]
    given = {**DEFAULTS, **network_class.family_defaults}
    return [event_shape, *(inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=v) for n, v in given.items()), *rest]


def of_levels(network_class, event_shape, *, levels, num_components, **arguments):
    """(network, family) of integers 0..levels-1; see `families.of_levels`."""
    family = families.of_levels(levels, num_components)
    if "num_components" in inspect.signature(network_class.__init__).parameters:
        arguments["num_components"] = num_components
    return network_class(event_shape, params_size=family.params_size, levels=levels, **arguments), family
