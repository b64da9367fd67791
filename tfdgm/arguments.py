"""Checks of arguments; each error names what was expected and what came."""

import inspect
import numbers

import numpy as np


def check_whole(minimum=1, maximum=None, **named):
    """A ValueError where one of `named` is no integer from `minimum` to `maximum`."""
    for name, value in named.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or value < minimum or (maximum is not None and value > maximum):
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


def check_types(function, args, kwargs):
    """A ValueError where an argument of `function` is of another kind than its default: True or False, an integer, a number, a
    tuple of integers. Where the default or what is given is None, or the default a text, anything goes."""
    signature = inspect.signature(function)
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        default = signature.parameters[name].default
        if value is None or default is None or default is inspect.Parameter.empty:
            continue
        is_bool = isinstance(value, (bool, np.bool_))
        if isinstance(default, bool):
            expected, fits = "True or False", is_bool
        elif isinstance(default, numbers.Integral):
            expected, fits = "an integer", isinstance(value, numbers.Integral) and not is_bool
        elif isinstance(default, numbers.Real):
            expected, fits = "a number", isinstance(value, numbers.Real) and not is_bool
        elif isinstance(default, tuple):
            checked_sizes(name, value)
            continue
        else:
            continue
        if not fits:
            raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


def has_masked(x):
    """Whether x is a `numpy.ma` array with masked entries, or a list with one in it."""
    if isinstance(x, (list, tuple)):
        return any(has_masked(part) for part in x)
    return isinstance(x, np.ma.MaskedArray) and bool(np.ma.is_masked(x))
