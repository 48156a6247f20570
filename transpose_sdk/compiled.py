"""numba's compiler, with its code kept for the next process wherever that is possible."""

from __future__ import annotations

import contextlib
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
    whose disk is read-only, it is compiled anew in each process, which the log says once. What is kept and damaged is
    compiled anew too.

    Args:
        **options: Of numba's `njit`.
    """

    def decorate(function: Function) -> Function:
        try:
            result: Function = njit(cache=True, nogil=True, **options)(function)
            _guard(getattr(result, "_cache", None))
        except (OSError, RuntimeError):  # numba's "no locator available"
            _tell()
            result = njit(nogil=True, **options)(function)
        return result

    return decorate


def _guard(cache: Any) -> None:
    """Let numba's cache of a function fail without harm: numba itself raises what it meets in a damaged file."""
    load, save = getattr(cache, "load_overload", None), getattr(cache, "save_overload", None)
    if load is None or save is None:  # another version of numba, which may do without
        return

    def load_sound(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever pickle and LLVM meet in a damaged file
            logger.warning("numba's cache is damaged (%s): compiling anew", type(error).__name__)
            with contextlib.suppress(Exception):
                cache.flush()
            return None

    def save_if_possible(*arguments: Any) -> None:
        try:
            save(*arguments)
        except OSError:  # a full disk
            _tell()

    cache.load_overload, cache.save_overload = load_sound, save_if_possible


@functools.cache
def _tell() -> None:
    logger.warning(
        "neither the package's folder nor the user's cache can be written: some functions are compiled anew in each "
        "process, which takes seconds; set NUMBA_CACHE_DIR to a folder that can be written"
    )
