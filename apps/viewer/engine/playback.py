"""A source that can be paused, stepped and handed from one stream to the next without opening it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator

from transpose_sdk.lifetime.closeable import Closeable
from transpose_sdk.media.frames import Source, SourceFrame

STILL_TIME = 1.0  # seconds that each of several images is shown


class Playback:
    """Plays a source at its own speed.

    The source is opened once; every stream gets a `segment` of it, which ends when that stream is closed and leaves the
    source where it is.

    Args:
        source: An open source; `close` closes it.

    Attributes:
        source: The same.
        exhausted: Whether all frames were handed out.
        closed: Whether it was closed.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.exhausted = False
        self._frames: Iterator[SourceFrame] | None = None
        self._reading = threading.Lock()  # the segment before may still be inside a read
        self._spare: SourceFrame | None = None
        self._changed = threading.Condition()
        self._paused = False
        self._steps = 0
        self.closed = False

    @property
    def paused(self) -> bool:
        """Whether no frames come."""
        return self._paused

    def pause(self, paused: bool) -> None:
        """Stop or go on. A camera goes on with what it sees then."""
        with self._changed:
            self._paused, self._steps = paused, 0
            self._changed.notify_all()

    def step(self) -> None:
        """Let one frame through and pause behind it."""
        with self._changed:
            self._paused = True
            self._steps += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all segments and close the source."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self.source.close()
        self._end_frames()

    def segment(self) -> Segment:
        """What a stream takes its frames from next."""
        return Segment(self)

    def wait_for_turn(self, ended: Callable[[], bool]) -> bool:
        """Wait until a frame may pass; False if none may any more."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or ended() or not self._paused or self._steps > 0)
            if self.closed or ended():
                return False
            self._steps = max(0, self._steps - 1)
            return True

    def lets_through(self) -> bool:
        """Whether a frame that is here may pass."""
        with self._changed:
            passes = not self._paused or self._steps > 0
            self._steps = max(0, self._steps - 1)
            return passes

    def wait_until(self, moment: float, ended: Callable[[], bool]) -> None:
        """Wait for a moment of the monotonic clock, or until something changes."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or ended() or self._paused, max(0.0, moment - time.monotonic()))

    def wake(self) -> None:
        """Look again whether a segment has ended."""
        with self._changed:
            self._changed.notify_all()

    def read(self, ended: Callable[[], bool]) -> SourceFrame | None:
        """The next frame, None at the end."""
        with self._reading:
            if self.closed or ended():
                return None
            frame, self._spare = self._spare, None
            if frame is None:
                self._frames = iter(self.source) if self._frames is None else self._frames
                frame = next(self._frames, None)
            self.exhausted = frame is None
            if ended() and not self.source.live:
                self._spare, frame = frame, None  # the next segment's
        if self.closed:
            self._end_frames()
        return frame

    def _end_frames(self) -> None:
        """Close the iteration, unless a read is under way, which does it when it is back."""
        if self._reading.acquire(blocking=False):
            try:
                if isinstance(self._frames, Generator):
                    self._frames.close()
            finally:
                self._reading.release()


class Segment(Closeable):
    """The part of a playback that one stream gets, as a live source: whoever is slow misses frames."""

    kind = "camera"
    live = True
    frame_count: int | None = None

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._ended = False
        source = playback.source
        self.name, self.fps, self.size = source.name, source.fps, source.size

    def close(self) -> None:
        """End the segment, not the source."""
        self._ended = True
        self._playback.wake()

    def _has_ended(self) -> bool:
        return self._ended

    def __iter__(self) -> Iterator[SourceFrame]:
        return self._live_frames() if self._playback.source.live else self._timed_frames()

    def _live_frames(self) -> Iterator[SourceFrame]:
        """What the camera sees; also read while paused, or old pictures would pile up in the driver."""
        while (frame := self._playback.read(self._has_ended)) is not None:
            if self._playback.lets_through():
                yield frame

    def _timed_frames(self) -> Iterator[SourceFrame]:
        """Each frame when its time has come."""
        playback = self._playback
        due = last = None
        while True:
            was_paused = playback.paused
            if not playback.wait_for_turn(self._has_ended):
                return
            frame = playback.read(self._has_ended)
            if frame is None:
                return
            now = time.monotonic()
            # After a pause the clock starts anew; decoding that is slower than the clip is not caught up with.
            if due is None or last is None or was_paused:
                due = now
            else:
                period = STILL_TIME if playback.source.kind == "images" else frame.time - last
                due = max(due + period, now - period)
            last = frame.time
            playback.wait_until(due, self._has_ended)
            yield frame
