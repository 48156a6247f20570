"""Ctrl-C that is not lost while foreign code calls back into Python."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LATER = 0.05  # seconds: the callback has returned by then


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Interrupt again where Python could only print a KeyboardInterrupt and go on.

    An exception cannot leave a callback that C called, as LLVM does while numba's functions are loaded: a Ctrl-C at
    that moment would be ignored.
    """
    usual = sys.unraisablehook

    def again(report: sys.UnraisableHookArgs) -> None:
        if report.exc_type is not KeyboardInterrupt:
            usual(report)
            return
        timer = threading.Timer(LATER, _interrupt)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = usual


def _interrupt() -> None:
    """Ctrl-C for the main thread, which a real signal also wakes where it waits."""
    main = threading.main_thread().ident
    if main is not None and sys.platform != "win32":
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
