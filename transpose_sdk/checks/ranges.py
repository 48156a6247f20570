"""What the numbers of options may be."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from transpose_sdk.errors import InputError, TransposeError


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`, both included unless told.

    Attributes:
        low: The smallest.
        high: The largest.
        above: Whether `low` itself is left out.
        whole: Whether they have to be whole.
    """

    low: float = 0.0
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        kind = numbers.Integral if self.whole else numbers.Real
        try:
            if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
                return False
        except OverflowError:  # whole, and more than a float can hold
            return False
        return self.low <= float(value) <= self.high and not (self.above and float(value) == self.low)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.above:
            return f"{kind} above {self.low:g}" + ("" if math.isinf(self.high) else f" and up to {self.high:g}")
        return f"{kind} from {self.low:g} " + ("on" if math.isinf(self.high) else f"to {self.high:g}")


SHARE = Range(0, 1)
FROM_0 = Range(0)
ABOVE_0 = Range(0, above=True)
COUNT = Range(1, whole=True)
FROM_0_WHOLE = Range(0, whole=True)


def check_ranges(options: object, error: type[TransposeError] = InputError, /, **ranges: Range) -> None:
    """Check numbers of a dataclass of options.

    Args:
        options: The dataclass.
        error: What is raised.
        **ranges: What each attribute may be.

    Raises:
        TransposeError: An attribute is no number of its range; NaN is in none.
    """
    for name, allowed in ranges.items():
        value = getattr(options, name)
        if value not in allowed:
            raise error(f"{type(options).__name__}: {name}={value!r}; give {allowed}")
