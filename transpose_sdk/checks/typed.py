"""Values from a file, JSON or YAML, as the dataclasses that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")


class MismatchError(ValueError):
    """A value is not of its field's type; tells the field and what was expected."""


def typed(
    values: Any, kind: type[Kind], *, strict: bool = True, hook: Callable[[type, Any], Any] | None = None
) -> Kind:
    """Plain values as a type: a dataclass, a tuple, a number.

    Keys that a dataclass does not have are ignored, so that a file may say more than this version reads.

    Args:
        values: As JSON or YAML gives them.
        kind: The type.
        strict: Whether text is no number; YAML reads 1e-4, which has no point, as text.
        hook: Makes a value of a type that JSON does not have, (type, value).

    Raises:
        MismatchError: Something is missing, of another type, or refused by a dataclass's own check.
    """
    try:
        return msgspec.convert(values, kind, strict=strict, dec_hook=hook)
    except (OverflowError, RecursionError, UnicodeError) as error:  # numbers, depths and characters beyond its reach
        raise MismatchError(f"a value that cannot be ({error})") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        where = where.rstrip("`").lstrip(".")
        raise MismatchError(f"{where}: {what}" if where else what) from None
