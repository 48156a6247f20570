"""A video that another program writes into a pipe: stdin, or a FIFO by its name."""

from __future__ import annotations

import os
import select
import stat
import sys
from pathlib import Path
from typing import IO

from transpose_sdk.errors import SourceError
from transpose_sdk.lifetime.closeable import Closeable

HEARTBEAT_MS = 100  # how soon a reader notices that it is closed


class Pipe(Closeable):
    """The reading end, which waits for whoever writes and can be closed meanwhile."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Take the descriptor, which is closed with the pipe."""
        self.name = name
        self._descriptor = descriptor
        self._closed = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, size: int) -> bytes:
        """Up to so many bytes, once there are any; none at the end."""
        while not self._closed:
            events = self._poll.poll(HEARTBEAT_MS)
            if events and events[0][1] & select.POLLIN:
                return os.read(self._descriptor, size)
            if events:  # the writer has gone, and everything is read
                return b""
        return b""

    def close(self) -> None:
        """End a read; the descriptor is let go with the object."""
        self._closed = True

    def __del__(self) -> None:
        os.close(self._descriptor)


def open_stdin() -> Pipe | IO[bytes]:
    """What is piped into this program, or the file that stdin is.

    Raises:
        SourceError: It is a terminal, or closed.
    """
    try:
        descriptor = os.dup(0)
    except OSError as error:
        raise SourceError("stdin is closed: pipe a video into it") from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    if os.isatty(descriptor):
        os.close(descriptor)
        raise SourceError(f"stdin is a terminal: pipe a video into it, as in `{sys.argv[0]} run - < clip.mp4`")
    return Pipe(descriptor, "stdin")


def is_pipe(path: Path) -> bool:
    """Whether a path is that of a FIFO, such as a shell's <(program) makes."""
    return path.exists() and stat.S_ISFIFO(path.stat().st_mode)


def open_pipe(path: Path) -> Pipe:
    """Open a FIFO, without waiting for its writer. Raises OSError where that is not allowed."""
    return Pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK), str(path))
