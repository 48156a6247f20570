"""A thread for what takes long: opening sources, compiling networks, ending streams."""

from __future__ import annotations

import threading
from collections.abc import Callable

Job = Callable[[], None]


class Loader:
    """Does jobs one after another; a job that has not begun gives way to a newer one of the same kind.

    Args:
        name: Of the thread.
        failed: Called with the error of a job.
    """

    def __init__(self, name: str, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def ask(self, kind: str, job: Job) -> None:
        """Have a job done."""
        with self._changed:
            self._jobs.pop(kind, None)
            self._jobs[kind] = job
            self._changed.notify_all()

    def close(self) -> None:
        """Forget the jobs that wait, and begin no more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the job at work."""
        self._thread.join(timeout)

    @property
    def ended(self) -> bool:
        """Whether it is closed and the last job is done."""
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._jobs)
                if self._closing:
                    return
                kind = next(iter(self._jobs))
                job = self._jobs.pop(kind)
            try:
                job()
            except Exception as error:  # noqa: BLE001 - shown in the window, which must stay usable
                self._failed(error)
