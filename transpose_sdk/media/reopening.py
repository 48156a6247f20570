"""Waiting for a live source that has disappeared."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from transpose_sdk.errors import SourceError

logger = logging.getLogger(__name__)

Opened = TypeVar("Opened")

# Seconds to wait before the first attempt, doubled up to the last.
FIRST_RETRY, LAST_RETRY = 0.25, 8.0


def reopened(
    attempt: Callable[[], Opened | None], name: str, retry_for: float, closed: threading.Event
) -> Opened | None:
    """Try to open a lost live source again, with growing pauses.

    Args:
        attempt: Opens it, or gives None.
        name: For the log.
        retry_for: Seconds.
        closed: Set when nobody waits any more.

    Returns:
        What was opened; None where nobody waits any more.

    Raises:
        SourceError: It did not come back in time.
    """
    logger.warning("%s disappeared; trying to reopen it for %.0f s", name, retry_for)
    lost, pause = time.monotonic(), FIRST_RETRY
    while time.monotonic() - lost < retry_for:
        if closed.wait(pause):
            return None
        pause = min(2 * pause, LAST_RETRY)
        opened = attempt()
        if opened is not None:
            logger.warning("%s is back after %.1f s", name, time.monotonic() - lost)
            return opened
    raise SourceError(
        f"{name} disappeared and did not come back within {retry_for:.0f} s: check its cable or network and start again"
    )
