"""OpenCV writes to stderr when an image is bad or a camera is missing; our errors say it in one sentence instead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

# OpenCV 4 has the function at the top, OpenCV 5 only in cv2.utils.logging; both give back the level before.
_set_log_level: Callable[[int], int] = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_SILENT = 0
_lock = threading.Lock()
_depth = 0
_level = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV's log inside the block; the last thread to leave restores its level."""
    global _depth, _level  # noqa: PLW0603 - OpenCV's level is one per process, and so is its guard
    with _lock:
        if _depth == 0:
            _level = _set_log_level(_SILENT)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _set_log_level(_level)
