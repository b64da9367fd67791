import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Check:
    """One measured property: it holds where `value` <= `tolerance`.

    Attributes:
      name: what was measured.
      value: the worst deviation met, NaN where it could not be measured.
      tolerance: the largest deviation that passes.
      detail: what the value is and over how much it was taken, or why the check was skipped.
      skipped: whether the check does not apply or costs too much here.
    """

    name: str
    value: float
    tolerance: float
    detail: str = ""
    skipped: bool = False

    @classmethod
    def skip(cls, name, reason):
        """A check that was not done, and why."""
        return cls(name, math.nan, math.nan, reason, skipped=True)

    @property
    def passed(self):
        """True or False; None for a skipped check. A value of NaN fails."""
        return None if self.skipped else bool(self.value <= self.tolerance)


def worst(error):
    """The largest value; NaN where any is NaN, so that the check fails."""
    return float(np.max(error)) if np.size(error) else float("nan")


def worst_of(checks, of="measurements"):
    """The check that deviates most; its detail says of how many."""
    check = max(checks, key=lambda check: np.inf if np.isnan(check.value) else check.value)
    detail = f"{check.detail}; the worst of {len(checks)} {of}" if len(checks) > 1 else check.detail
    return dataclasses.replace(check, detail=detail)
