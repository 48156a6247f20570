"""Bounded queues between the threads of the stream."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Waiting without a timeout cannot be interrupted by Ctrl-C on Windows.
HEARTBEAT = 0.2


class Closed(Exception):  # noqa: N818 - a state, not an error
    """The other end has gone."""


class Channel(Generic[Item]):
    """A queue of bounded length from one thread to another, which either end can close.

    Args:
        capacity: Items at most.
        drop_oldest: Whether a full channel makes room for a new item instead of letting it wait.

    Attributes:
        dropped: Items that gave way to newer ones.
    """

    def __init__(self, capacity: int, drop_oldest: bool = False) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._items: deque[Item] = deque()
        self._changed = threading.Condition(threading.RLock())
        self._finished = False
        self._stopped = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def stopped(self) -> bool:
        """Whether nobody will take any more items."""
        return self._stopped

    def put(self, item: Item) -> None:
        """Add an item, once there is room. Raises Closed if nobody will take it."""
        self.wait_for_room()
        with self._changed:
            if len(self._items) >= self._capacity and self._drop_oldest:
                self._items.popleft()
                self.dropped += 1
            self.add(item)

    def wait_for_room(self) -> None:
        """Wait until an item can be added. Raises Closed if nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._drop_oldest or len(self._items) < self._capacity)
            if self._stopped:
                raise Closed

    def add(self, item: Item) -> None:
        """Add an item without a look at the capacity, even to a stopped channel: nothing that is done gets lost."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Item:
        """Take the oldest item, once there is one. Raises Closed if none will come."""
        with self._changed:
            while not self._items and not self._finished:
                self._changed.wait(HEARTBEAT)
            if not self._items:
                raise Closed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def finish(self) -> None:
        """From the giving end: no more items follow; those inside can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def stop(self) -> None:
        """From outside: `put` gets Closed, and `get` too once the channel is empty."""
        with self._changed:
            self._stopped = self._finished = True
            self._changed.notify_all()
