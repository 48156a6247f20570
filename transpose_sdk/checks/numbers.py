"""Numbers that callers give: lists become arrays, and what is no number of the kind is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import InputError


def as_numbers(value: Any, kind: type[np.generic], name: str) -> NDArray[Any]:
    """A caller's values as an array of a type; the array itself where it is of that type already.

    Args:
        value: An array, or lists of numbers.
        kind: np.float32 or np.int64.
        name: What it is called in the error.

    Raises:
        InputError: It holds no numbers, rows of several lengths, or for np.int64 fractions.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.empty(1, object)  # rows of several lengths
    fits = array.dtype.kind in "iuf" or not array.size
    if fits and kind is np.int64 and array.dtype.kind == "f":
        fits = bool((np.isfinite(array) & (np.rint(array) == array)).all())
    if not fits:
        raise InputError(
            f"{name} is {str(value)[:60]}: give an array of {kind.__name__}, or lists of equal lengths that make one"
        )
    return array.astype(kind, copy=False)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, of Python or of NumPy; True and 1.0 are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
