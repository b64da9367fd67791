"""Checks of constructor arguments; each error names what was expected and what came."""

import numbers


def check_whole(minimum=1, maximum=None, **named):
    """A ValueError where one of `named` is no integer from `minimum` to `maximum`."""
    for name, value in named.items():
        if not isinstance(value, numbers.Integral) or value < minimum or (maximum is not None and value > maximum):
            allowed = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
            raise ValueError(f"`{name}` must be an integer, {allowed}. Received: {name}={value!r}")


def checked_sizes(name, values):
    """`values` as a tuple; a ValueError where they are no integers of 1 or more."""
    try:
        sizes = tuple(values)
    except TypeError:
        sizes = None
    if sizes is None or not all(isinstance(size, numbers.Integral) and size >= 1 for size in sizes):
        raise ValueError(f"`{name}` must be a tuple of integers, each 1 or more, e.g. (64, 64). Received: {name}={values!r}")
    return sizes
