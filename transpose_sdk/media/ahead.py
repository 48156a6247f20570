"""Reading ahead on a thread of its own, so that whoever waits for a silent network can be let go at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

from transpose_sdk.lifetime.closeable import Closeable

Item = TypeVar("Item")

# Waiting without a timeout cannot be interrupted by Ctrl-C on Windows.
HEARTBEAT = 0.2


class Ahead(Closeable, Generic[Item]):
    """The items of a generator, each taken by a thread before it is asked for.

    The generator is the thread's: it ends there, soon after `close`, which waits for nothing.
    """

    def __init__(self, items: Iterator[Item], waiting: bool) -> None:
        """Start to take.

        Args:
            items: The generator.
            waiting: Whether an item waits until it is taken. Else the thread goes on and drops those that nobody has
                asked for until the first is.
        """
        self._waiting = waiting
        self._item: list[Item] = []
        self._over = self._closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._take, args=(items,), name="transpose-read", daemon=True).start()

    def _take(self, items: Iterator[Item]) -> None:
        try:
            for item in items:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or not (self._waiting and self._item))
                    if self._closed:
                        break
                    self._item = [item]
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - who iterates gets it
            self._error = error
        finally:
            items.close()  # type: ignore[attr-defined]
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        with self._changed:
            if not self._waiting:
                self._item = []  # it has grown old
            self._waiting = True
        while True:
            with self._changed:
                while not (self._item or self._over or self._closed):
                    self._changed.wait(HEARTBEAT)
                if self._closed:
                    return
                if not self._item:
                    break
                item = self._item.pop()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End an iteration, and the generator after its current item."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
