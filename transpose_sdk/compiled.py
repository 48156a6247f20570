"""numba's compiler, with its code kept for the next process wherever that is possible."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

logger = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function at its first call, without holding the interpreter's lock while it runs.

    The machine code is kept beside the package, or in the user's cache. Where neither can be written, as in a container
    whose disk is read-only, it is compiled anew in each process, which the log says once.

    Args:
        **options: Of numba's `njit`.
    """

    def decorate(function: Function) -> Function:
        try:
            result: Function = njit(cache=True, nogil=True, **options)(function)
        except (OSError, RuntimeError):  # numba's "no locator available"
            _tell()
            result = njit(nogil=True, **options)(function)
        return result

    return decorate


@functools.cache
def _tell() -> None:
    logger.warning(
        "neither the package's folder nor the user's cache can be written: some functions are compiled anew in each "
        "process, which takes seconds; set NUMBA_CACHE_DIR to a folder that can be written"
    )
