"""Arguments of models and of their methods, beside x. Each error names what was expected and what came."""

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfdgm.arguments import check_types, check_whole, checked_sizes
from tfdgm.event import Event
from tfdgm.unknown_name import unknown_name


def recorded(arguments: dict[str, Any], name: str, value: Any) -> Any:
    """`value`, for which a default of None stands, also in a config: an artifact keeps its meaning when the rule changes."""
    if name in arguments:
        arguments[name] = plain(value)
    return value


def checked_arguments(cls: type, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a model's `__init__` by name, defaults among them, as plain Python values for configs.

    Raises:
      TypeError: for one too many or too few, with the class's name; and the nearest, of a name that it does not have.
      ValueError: for what no model takes, of the arguments that mean the same in all, and for another kind than the default's.
    """
    signature = inspect.signature(cls.__init__)
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError as error:
        known = list(signature.parameters)[1:]
        strange = [name for name in kwargs if name not in known]
        message = unknown_name(f"argument of {cls.__name__}", strange[0], known) if strange else f"{cls.__name__}: {error}"
        raise TypeError(message) from None
    bound.apply_defaults()
    given = {name: plain(value) for name, value in list(bound.arguments.items())[1:]}
    for name in ("event_shape", "condition_shape"):
        if given.get(name) is not None:
            checked_sizes(name, given[name])
    if given.get("levels") is not None and not isinstance(given["levels"], (list, tuple)):  # Those are the event's to check.
        check_whole(2, 2**31, levels=given["levels"])
    if "seed" in given:
        check_whole(0, 2**31 - 1, seed=given["seed"])
    check_types(cls.__init__, (None, *args), kwargs)
    return given


def plain(value: Any) -> Any:
    """Tuples and numpy values as plain Python ones, for configs."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def is_eager(*values: Any) -> bool:
    """Whether all are concrete, and not tensors of a function being traced."""
    return tf.executing_eagerly() and not any(tf.is_tensor(v) and not hasattr(v, "numpy") for v in values)


def check_condition(
    condition: ArrayLike | None, condition_shape: tuple[int, ...] | None, batch: tuple[int, ...], dtype: str
) -> np.ndarray | None:
    """`condition` broadcast to [*batch, *condition_shape] and flattened to rows, or None where the model takes none."""
    if condition_shape is None:
        if condition is not None:
            raise ValueError("This model takes no `condition` (condition_shape=None). Received one.")
        return None
    if condition is None:
        raise ValueError(f"This model needs a `condition` that ends in condition_shape={condition_shape}. Received: None")
    return Event(condition_shape).rows_for(batch, condition, dtype)


def check_known(model: keras.Model, x: ArrayLike, known: ArrayLike | None) -> np.ndarray | None:
    """Which entries of x, bool of its shape: those that are not NaN, and not 0 in `known`. None where none may be missing.

    Raises:
      ValueError: for a `known` where none may be missing, and for a row whose unknown entries the model cannot integrate out.
    """
    if not model.event.missing:
        if known is not None:
            raise ValueError("This model takes no `known`: none of its entries may be missing. Received one.")
        return None
    which = model.event.known(x, known)
    rows = which.reshape((-1, *model.event_shape))
    bad = np.flatnonzero(~model.distribution.integrates(tf.constant(rows)).numpy())
    if len(bad):
        raise ValueError(
            "The unknown entries of a row must be such that this model integrates them out exactly. Received: "
            f"{len(bad)} other rows, the first with known={rows[bad[0]].astype(int).ravel().tolist()}"
        )
    return which


def check_can(model: keras.Model, name: str, what: str) -> None:
    """A ValueError where the model's distribution has no such function; `what` has."""
    if name not in model.distribution.functions():
        received = f"{type(model).__name__}, whose distribution is {type(model.distribution).__name__}"
        raise ValueError(f"`{name}` needs {what}. Received: {received}")


def seeds_of_rows(seed: int | None, n: int) -> np.ndarray:
    """(seed, i) of row i, int32 [n, 2]; without a seed, another one each time."""
    seed = np.random.SeedSequence().entropy % 2**31 if seed is None else seed
    check_whole(-(2**31), 2**31 - 1, seed=seed)
    return np.stack([np.full(n, seed), np.arange(n)], axis=1).astype(np.int32)
