"""What every source hands out: one picture with its index and its time, and the clock that keeps times in order."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.numbers import is_whole
from transpose_sdk.errors import InputError
from transpose_sdk.without_secrets import without_secrets

# The rate assumed where nothing states one: an image folder, an iterable of arrays without times.
DEFAULT_FPS = 30.0

Item = TypeVar("Item")


@dataclass(frozen=True)
class SourceFrame:
    """One picture of a source.

    Attributes:
        index: Position in the source from 0; with a start or a stride the indices skip, so that they always name the
            same picture.
        time: Seconds, strictly increasing: the container's presentation time for files, the capture time since the
            first frame for cameras, index / fps where there is no clock.
        image: (H, W, 3) uint8, BGR.
        owned: Whether the image is the receiver's alone, as all sources of `open_source` give it. Where it is not, such
            as a driver's buffer that the next frame overwrites, a stream copies it before it reads on.
    """

    index: int
    time: float
    image: NDArray[np.uint8]
    owned: bool = False

    def kept(self) -> SourceFrame:
        """The same with an image that nobody else writes into."""
        return self if self.owned else replace(self, image=np.array(self.image), owned=True)


@runtime_checkable
class Source(Protocol):
    """A one-pass iterable of frames that must be closed.

    `close` may be called from another thread than the one that iterates; the iteration then ends at its next frame.

    Attributes:
        name: The path, URL or camera as the user knows it.
        kind: "video", "images", "camera" or "array".
        fps: Frames per second as handed out (so the stride counts), None where unknown.
        frame_count: Number of frames that will be handed out, an estimate of the container's for videos, None where
            unknown.
        size: (width, height) of the first frame in px, None where it is known only later.
        live: The source cannot wait: frames that are not taken in time are lost or grow old.
    """

    name: str
    kind: str
    fps: float | None
    frame_count: int | None
    size: tuple[int, int] | None
    live: bool

    def __iter__(self) -> Iterator[SourceFrame]: ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...


def source_record(source: Source) -> dict[str, Any]:
    """The "source" of the JSON document."""
    width, height = source.size or (None, None)
    return {
        "name": without_secrets(source.name),
        "kind": source.kind,
        "fps": source.fps,
        "frame_count": source.frame_count,
        "width": width,
        "height": height,
    }


@contextmanager
def iterating(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """Iterate inside the block; a generator is closed behind it, so that its `finally` need not wait for the collector.

    Closing is up to the thread that iterates: a generator that another one is waiting for cannot be closed.
    """
    iterator = iter(items)
    try:
        yield iterator
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


@dataclass(frozen=True)
class FrameRange:
    """Which frames of a source are handed out, with the meaning of a Python slice: frame indices, stop excluded."""

    start: int = 0
    stop: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("stop", self.stop), ("stride", self.stride)):
            if value is None and name == "stop":
                continue
            if not is_whole(value):
                raise InputError(f"{name}={value!r}: give a whole number of frames")
        if self.start < 0 or self.stride < 1 or (self.stop is not None and self.stop <= self.start):
            raise InputError(
                f"start={self.start}, stop={self.stop}, stride={self.stride} selects no frames: "
                "use start >= 0, stop > start and stride >= 1, counted in frames"
            )

    def __contains__(self, index: int) -> bool:
        return index >= self.start and not self.is_past(index) and (index - self.start) % self.stride == 0

    def is_past(self, index: int) -> bool:
        """Whether neither this frame nor a later one is wanted."""
        return self.stop is not None and index >= self.stop

    def of(self, total: int) -> range:
        """The indices wanted of a source of `total` frames."""
        return range(self.start, total if self.stop is None else min(self.stop, total), self.stride)


class FrameClock:
    """Makes time stamps strictly increasing, as the smoothing and the tracking need them.

    A stamp that repeats or falls back a little moves half a frame past the last one; a stamp that falls back by more
    than a second is a clock that was reset (joined files, a camera that came back), and the rest is shifted to go on
    from the last frame. A stamp that is not finite is replaced by the next expected one. Gaps forward are real.
    """

    reset_after = 1.0

    def __init__(self, period: float) -> None:
        """Args: period: Expected seconds between two frames."""
        self._period = period
        self._shift = 0.0
        self._last = -math.inf

    def tick(self, stamp: float) -> float:
        """The time of the next frame, in seconds, for a raw stamp in seconds."""
        expected = self._last + self._period if math.isfinite(self._last) else 0.0
        time = stamp + self._shift if math.isfinite(stamp) else expected
        if time < self._last - self.reset_after:
            self._shift += expected - time
            time = expected
        if time <= self._last:
            time = self._last + self._period / 2
        self._last = time
        return time
