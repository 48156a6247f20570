"""Ctrl-C, SIGTERM and SIGHUP end a command between two frames, so that all that it writes is whole and agrees.

A terminal that closes and `docker stop` mean what Ctrl-C means. A second signal ends the process at once.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType

LATER = 0.05  # seconds: the callback has returned by then
# Seconds within which a second signal is the first one's echo: a terminal that closes sends SIGHUP itself, and by its
# shell once more.
ECHO = 0.5
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal asks the command to end.

    Attributes:
        signum: Which.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


@dataclass
class _Signals:
    """Of the process's one main thread.

    Attributes:
        came: When the first signal came, in s of the monotonic clock.
        held: Blocks of `undisturbed` that we are in.
        pending: A signal that came in one of them.
        lost: A signal whose exception got lost, and that is sent again.
    """

    came: float | None = None
    held: int = 0
    pending: int | None = None
    lost: int | None = None


_state = _Signals()


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise Stopped in the block for the signals that end a command, also where Python could only print it and go on.

    An exception cannot leave a callback that C called, as LLVM does while numba's functions are loaded: a signal at
    that moment would be ignored, so it is sent again. Outside the main thread signals are left to whoever owns it.
    """
    global _state
    usual_hook = sys.unraisablehook
    owner, _state = os.getpid(), _Signals()

    def stop(signum: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked child, whose parent's business this is
            _end_at_once(signum)
        if _state.lost is not None:
            signum, _state.lost = _state.lost, None
        elif _state.came is None:
            _state.came = time.monotonic()
        elif time.monotonic() - _state.came < ECHO:
            return
        else:
            _end_at_once(signum)
        if _state.held:
            _state.pending = signum
        else:
            raise Stopped(signum)

    def again(report: sys.UnraisableHookArgs) -> None:
        if not issubclass(report.exc_type, KeyboardInterrupt):
            usual_hook(report)
            return
        _state.lost = getattr(report.exc_value, "signum", signal.SIGINT)
        timer = threading.Timer(LATER, _interrupt)
        timer.daemon = True
        timer.start()

    with ExitStack() as restored:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                before = signal.getsignal(signum)
                if before is not None and before != signal.SIG_IGN:  # as under nohup, or in a shell's background
                    signal.signal(signum, stop)
                    restored.callback(signal.signal, signum, before)
        sys.unraisablehook = again
        restored.callback(setattr, sys, "unraisablehook", usual_hook)
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let signals take effect behind the block: what it writes is written as a whole."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    if not _state.held and _state.pending is not None:
        signum, _state.pending = _state.pending, None
        raise Stopped(signum)


@contextmanager
def undisturbed_exit() -> Iterator[ExitStack]:
    """An ExitStack that is left undisturbed, so that the files which it closes are finished."""
    stack = ExitStack()
    try:
        yield stack
    except BaseException:
        with undisturbed():
            if not stack.__exit__(*sys.exc_info()):
                raise
    else:
        with undisturbed():
            stack.close()


def _end_at_once(signum: int) -> None:
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)


def _interrupt() -> None:
    """Ctrl-C for the main thread, which a real signal also wakes where it waits."""
    main = threading.main_thread().ident
    if main is not None and sys.platform != "win32":
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
