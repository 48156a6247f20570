"""What is opened belongs to the process that opened it, and its end waits for the work that is going on.

The interpreter does not wait for daemon threads: one that is inside OpenVINO or numba when it ends would abort the
whole process. And a forked child inherits a network without the threads that work for it: whoever waits for its answer
there would wait for ever.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 5.0  # seconds that the interpreter's end waits for a piece of work


class _Work:
    """The pieces of work that are going on."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.count = 0
        self.ending = False


_work = _Work()
_here = threading.local()  # how many pieces of work this thread is inside of


def _forked() -> None:
    """The threads that were at work are not in the child, nor are their locks let go of."""
    global _work, _here
    _work, _here = _Work(), threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def working() -> Iterator[None]:
    """A piece of work that the interpreter's end waits for; no daemon thread begins another one after that."""
    depth = getattr(_here, "depth", 0)
    work = _work
    if not depth:
        with work.changed:
            work.count += 1
        if work.ending and threading.current_thread().daemon:
            _finished(work)
            while True:  # in Python, where a thread can be ended
                time.sleep(LONGEST)
    _here.depth = depth + 1
    try:
        yield
    finally:
        _here.depth = depth
        if not depth:
            _finished(work)


def is_forked(process: int) -> bool:
    """Whether this is another process than that of a number, a forked child of it."""
    return os.getpid() != process


def fork_remedy(process: int) -> str:
    """What to do with something that was opened in the process of that number."""
    return (
        f"it was opened in process {process}, and a forked child has none of its threads: open it in the child, or "
        "start children with multiprocessing.get_context('spawn')"
    )


def _finished(work: _Work) -> None:
    with work.changed:
        work.count -= 1
        work.changed.notify_all()


@atexit.register
def _end() -> None:
    work = _work
    with work.changed:
        work.ending = True
        work.changed.wait_for(lambda: work.count <= getattr(_here, "depth", 0), LONGEST)
