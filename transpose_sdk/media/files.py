"""What the sinks share: the frame they take, the context manager, and files that are complete after every frame."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import SinkError
from transpose_sdk.poses import Poses

SinkType = TypeVar("SinkType", bound="FileSink")


class PosedFrame(Protocol):
    """What a sink needs of a frame of a PoseStream: index, time in s, (H, W, 3) uint8 BGR image and poses in its px."""

    @property
    def index(self) -> int: ...

    @property
    def time(self) -> float: ...

    @property
    def image(self) -> NDArray[np.uint8]: ...

    @property
    def poses(self) -> Poses: ...


class Sink(Protocol):
    """Takes the frames of a stream one after another; the file is whole once it is closed."""

    def write(self, frame: PosedFrame) -> None: ...

    def close(self) -> None: ...


class FileSink:
    """A sink as a context manager, which closes itself on the way out of the block, with an error too."""

    closed = False

    def __enter__(self: SinkType) -> SinkType:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except SinkError:
            if not isinstance(error, SinkError):  # the first failure is the one to tell
                raise

    def write(self, frame: PosedFrame) -> None:
        """Add a frame. Raises SinkError where it cannot be written."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file. Harmless when called again."""
        self.closed = True

    def require_open(self, name: Path | str) -> None:
        """Raise SinkError, with the name of the output, where the sink is closed."""
        if self.closed:
            raise closed_error(name)


def closed_error(name: Path | str) -> SinkError:
    """What is raised when a closed output is written to."""
    return SinkError(f"{name} is closed: write inside the with block, or open it again")


@contextmanager
def sink_errors(path: Path | str) -> Iterator[None]:
    """Raise an OSError of the block as a SinkError that names the path."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError for a name with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise SinkError(
            f"cannot write {path} ({reason}): check the folder, its permission and the free space"
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file of its own, whole; where that fails, what was there stays.

    Raises:
        SinkError: It cannot be written.
    """
    with sink_errors(path), whole_file(path) as unfinished:
        unfinished.write_bytes(data)


def growing_file(target: str | Path | IO[bytes], head: bytes = b"", tail: bytes = b"") -> GrowingFile | GrowingStream:
    """A file of records, or a stream that somebody lends.

    Args:
        target: A path, or an open binary stream such as sys.stdout.buffer, which is left open.
        head: What stands before the first record.
        tail: What stands after the last one.

    Raises:
        SinkError: The file cannot be created.
    """
    return GrowingFile(target, head, tail) if isinstance(target, str | Path) else GrowingStream(target, head, tail)


class GrowingStream:
    """Records in a stream that was lent; what has been written cannot be taken back, so the tail comes on closing."""

    def __init__(self, stream: IO[bytes], head: bytes = b"", tail: bytes = b"") -> None:
        """Write the head; arguments as of `growing_file`."""
        self._stream = stream
        self._tail = tail
        self._closed = False
        self._name = getattr(stream, "name", "the stream")
        if head:
            self.append(head)

    def append(self, record: bytes) -> None:
        """Write one record. Raises SinkError where the reader has gone, or the sink or the stream is closed."""
        if self._closed:
            raise closed_error(f"the sink of {self._name}")
        if self._stream.closed:  # by whoever lent it
            raise closed_error(self._name)
        with sink_errors(self._name):
            self._stream.write(record)
            self._stream.flush()

    def close(self) -> None:
        """Write the tail; the stream stays open. Harmless when called again."""
        if not self._closed and self._tail and not self._stream.closed:
            self.append(self._tail)
        self._closed = True


class GrowingFile:
    """A file of records that is complete after each of them, whatever happens next.

    A closing `tail` (such as the brackets that end a JSON document) follows the last record and is overwritten by the
    next one in a single write. A record that does not fit on the disk is taken back. A pipe or a device, which cannot
    be written anew, gets the tail at the end.
    """

    def __init__(self, path: str | Path, head: bytes = b"", tail: bytes = b"") -> None:
        """Create the file and, where missing, its folder.

        Args:
            path: Where to; an existing file is replaced.
            head: What stands before the first record.
            tail: What stands after the last one.

        Raises:
            SinkError: It cannot be created.
        """
        self.path = Path(path)
        self._tail = tail
        self._end = 0
        with sink_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb", buffering=0)
            self._seekable = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self.append(head)

    def append(self, record: bytes) -> None:
        """Write one record and the tail.

        Raises:
            SinkError: They do not fit, and the file keeps all earlier records; or the file is closed.
        """
        if self._file.closed:
            raise closed_error(self.path)
        with sink_errors(self.path):
            if not self._seekable:
                self._write(record)
                return
            try:
                self._write(record + self._tail)
            except OSError:
                self._write(self._tail)
                self._file.truncate(self._end + len(self._tail))
                raise
        self._end += len(record)

    def _write(self, data: bytes) -> None:
        if self._seekable:
            self._file.seek(self._end)
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Close the file. Harmless when called again."""
        with sink_errors(self.path):
            try:
                if not self._seekable and not self._file.closed:
                    self._write(self._tail)
            finally:
                self._file.close()
