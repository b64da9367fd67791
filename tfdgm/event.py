"""What one x is. NumPy alone, so that data, models, servers' clients and networks under any backend of Keras share it."""

import dataclasses
import math

import numpy as np

from tfdgm.arguments import check_whole, checked_sizes, has_masked


@dataclasses.dataclass(frozen=True)
class Event:
    """One x of a density: its shape, and what its entries may be.

        Event((43,))                              # 43 real numbers
        Event((28, 28), levels=2)                 # a binary image
        Event((3,), levels=(None, 2, 12))         # a row of a table: a real number, a yes or no, a month
        Event((80,), levels=27, end=26)           # a text of up to 80 symbols

    With `end`, that symbol absorbs: after it every entry is that symbol, with probability 1, and other events have probability 0.
    So a sequence of any length up to T is an event of the fixed shape (T,), and the sum over all events is 1.

    Args:
      shape: of x, without batch axes.
      levels: None for real numbers; L for the integers 0..L-1; or, for a vector, one of either for each column.
      end: the symbol that ends a sequence, one of 0..L-1; or None.
      missing: whether entries may be unknown, which are integrated out: `known` says which, or NaN in x.

    Raises:
      ValueError: for what is no shape, levels that are none, and an `end` that is not among the levels of a vector.
    """

    shape: tuple
    levels: int | tuple | None = None
    end: int | None = None
    missing: bool = False

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(size) for size in checked_sizes("event_shape", self.shape)))
        if isinstance(self.levels, (list, tuple)):
            object.__setattr__(self, "levels", tuple(self.levels))
            if self.shape != (len(self.levels),):
                raise ValueError(f"`levels` must be one for each column of {self.shape}. Received: {len(self.levels)} levels")
        for levels in self.levels if isinstance(self.levels, tuple) else (self.levels,):
            if levels is not None:
                check_whole(2, 2**31, levels=levels)
        if self.end is not None:
            if not isinstance(self.levels, int) or len(self.shape) != 1:
                raise ValueError(f"`end` needs a vector of integers 0..L-1. Received: shape={self.shape}, levels={self.levels}")
            check_whole(0, self.levels - 1, end=self.end)

    @property
    def size(self):
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def is_discrete(self):
        """Whether all entries are integers, and log_prob is that of a mass function."""
        return self.levels is not None and (not isinstance(self.levels, tuple) or None not in self.levels)

    def dtype(self, real):
        """The name of x's dtype, where real numbers have the dtype `real`."""
        return "int32" if self.is_discrete else real

    def batch_of(self, x):
        """The batch axes of an array or tensor x."""
        return tuple(x.shape[: len(x.shape) - len(self.shape)])

    def are_levels(self, x):
        """Whether each entry of x [..., *shape], an array or a tensor, is one of its levels; bool, True for real entries."""
        if self.levels is None:
            return x == x
        if not isinstance(self.levels, tuple):
            return (x >= 0) & (x <= self.levels - 1) & _are_whole(x)
        real = np.array([levels is None for levels in self.levels])
        top = np.array([1 if levels is None else levels - 1 for levels in self.levels])
        return real | ((x >= 0) & (x <= top) & _are_whole(x))

    def check(self, x, dtype, name="x"):
        """x [*batch, *shape] as an array of the event's dtype, real numbers as `dtype`. What is unknown (NaN) becomes 0, where
        entries may be missing; see `known`.

        Raises:
          ValueError: for what is no array of numbers, another shape, and numbers that are not finite or none of the levels.
        """
        x = numbers(x, name)
        if x.ndim < len(self.shape) or x.shape[x.ndim - len(self.shape) :] != self.shape:
            raise ValueError(f"`{name}` must end in event_shape={self.shape}. Received: {name}.shape={x.shape}")
        x = np.where(np.isnan(x), 0, x) if self.missing else x
        for values, levels, which in self._by_levels(x, name):
            if levels is None:
                _check_finite(values, which, dtype)
            else:
                _check_levels(values, levels, which)
        return x.astype(self.dtype(dtype))

    def rows_for(self, batch, values, dtype, name="condition"):
        """values [*batch, *shape], or one for all of [*shape] -> rows [n, *shape], checked.

        Raises:
          ValueError: as `check`.
        """
        values = numbers(values, name)
        try:
            rows = np.broadcast_to(values, (*batch, *self.shape))
        except ValueError:
            wanted = f"`{name}` must have shape {(*batch, *self.shape)} or {self.shape}"
            raise ValueError(f"{wanted}. Received: {name}.shape={values.shape}") from None
        return self.check(rows, dtype, name).reshape((-1, *self.shape))

    def known(self, x, known=None):
        """Which entries of x are known, bool of x's shape: those that are not NaN, and not 0 in `known`, if it is given.

        Raises:
          ValueError: for a `known` of another shape, or that holds other numbers than 0 and 1.
        """
        which = ~np.isnan(numbers(x, "x"))
        return which if known is None else which & (self.zeros_and_ones(known, which.shape, "unknown", "known") != 0)

    def zeros_and_ones(self, known, shape, if_0, if_1):
        """`known`, 0 or 1 for each entry of x of that shape, or of the event's for all rows, as int32 of x's shape.

        Raises:
          ValueError: as `known`; it says what 0 and 1 stand for.
        """
        known = numbers(known, "known")
        if known.shape not in (shape, self.shape):
            also = "" if shape == self.shape else f", or event_shape={self.shape}"
            raise ValueError(f"`known` must have the shape of `x`, {shape}{also}. Received: known.shape={known.shape}")
        if not np.isin(known, (0, 1)).all():
            bad = known[~np.isin(known, (0, 1))].flat[0]
            raise ValueError(f"`known` must hold 0 ({if_0}) and 1 ({if_1}). Received: {bad}")
        return np.broadcast_to(known, shape).astype(np.int32)

    def _by_levels(self, x, name):
        """(entries, their levels, their name) of x: all at once, or column by column."""
        if not isinstance(self.levels, tuple):
            return [(x, self.levels, name)]
        return [(x[..., i], levels, f"{name}[..., {i}]") for i, levels in enumerate(self.levels)]


def _are_whole(x):
    return True if "int" in str(x.dtype) else x % 1 == 0


def _check_finite(x, name, dtype):
    if not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(f"`{name}` must be finite. Received: {x[where]} at index {where}")
    with np.errstate(over="ignore"):
        fits = np.isfinite(x.astype(dtype)).all()
    if not fits:
        raise ValueError(f"`{name}` must fit in {dtype}. Received: values up to {np.abs(x).max()}")


def _check_levels(x, levels, name):
    if x.dtype.kind == "f" and not (x == np.floor(x)).all():
        raise ValueError(f"`{name}` must hold integers 0..{levels - 1}. Received: {x[x != np.floor(x)].flat[0]}")
    if x.size and (x.min() < 0 or x.max() > levels - 1):
        raise ValueError(f"`{name}` must hold integers 0..{levels - 1}. Received: values from {x.min()} to {x.max()}")


def numbers(values, name):
    """What a user gave as an array of numbers; a ValueError where it is none."""
    if has_masked(values):
        raise ValueError(f"`{name}` must have no masked entries. Received: a numpy.ma array with some; fill or drop them first.")
    try:
        values = _of_frame(values) if np.asarray(values).dtype.kind == "O" else np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`{name}` must be an array of numbers. Received: {type(values).__name__} ({error})") from None
    if values.dtype.kind not in "fiub" and values.dtype.name != "bfloat16":
        raise ValueError(f"`{name}` must hold numbers. Received: dtype={values.dtype}")
    return values


def _of_frame(values):
    """What pandas gives as objects though all are numbers: columns of several kinds, of its nullable ones, of decimals."""
    dtypes = getattr(values, "dtypes", ())  # A Series has one.
    kinds = {"f" if str(dtype).startswith("decimal") else dtype.kind for dtype in np.ravel(np.asarray(dtypes, object))}
    if not kinds or kinds - set("fiub"):
        return np.asarray(values)
    whole = kinds <= set("ib") and not np.any(values.isna())
    return values.to_numpy(dtype=np.int64 if whole else np.float64, **({} if whole else {"na_value": np.nan}))


def can_be_reshaped(shape, event_shape):
    """Whether rows of `shape` are events of `event_shape`, but for axes of 1, or flat, as those of a table may be images. An
    image on its side is none."""
    shape, event_shape = ([size for size in of if size != 1] for of in (shape, event_shape))
    return shape == event_shape or (math.prod(shape) == math.prod(event_shape) and min(len(shape), len(event_shape)) < 2)
