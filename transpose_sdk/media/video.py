"""Videos, cameras and network streams through OpenCV's VideoCapture."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from transpose_sdk.closeable import Closeable
from transpose_sdk.errors import SourceError
from transpose_sdk.media.frames import DEFAULT_FPS, FrameClock, FrameRange, SourceFrame
from transpose_sdk.media.quiet import quiet_opencv
from transpose_sdk.media.seeking import has_constant_rate

logger = logging.getLogger(__name__)

# A network stream that says nothing for this long counts as gone.
NETWORK_TIMEOUT_MS = 5000
# Seconds to wait before the first attempt to reopen a camera, doubled up to the last.
FIRST_RETRY, LAST_RETRY = 0.25, 8.0
LONGEST_DAMAGE = 250  # frames in a row; a file that was cut short has no more after them
WORTH_SEEKING = 32  # frames; OpenCV decodes 16 and more on the way to the one it seeks


class CaptureSource(Closeable):
    """A video file, a camera or a network stream; a live one that disappears is reopened.

    Frames before `start` and between strides are grabbed but not converted. A `start` far into a file is sought where
    the container promises that this finds the frame that counting would (see `seeking`).

    Attributes:
        reconnects: How often a live source was lost and found again.
        damaged: Frames so far, between others, that a file holds but that cannot be decoded; they keep their indices.
    """

    def __init__(
        self,
        target: str | int,
        frames: FrameRange,
        fps: float | None = None,
        retry_for: float = 30.0,
    ) -> None:
        """Open the target and grab its first frame.

        Args:
            target: Path, URL, or a camera's index.
            frames: The frames to hand out.
            fps: Overrides the rate that the container states, which then has no say in the times either.
            retry_for: Seconds to try to get a lost live source back before giving up.

        Raises:
            SourceError: It cannot be opened, or no frame of it can be decoded.
        """
        self._target = target
        self._frames = frames
        self._retry_for = retry_for
        self._closed = threading.Event()
        self._lock = threading.Lock()  # VideoCapture must not be released while another thread reads from it
        self._capture = _open_capture(target)
        if self._capture is None:
            raise SourceError(_cannot_open(target))
        self._grabbed = True

        is_camera = isinstance(target, int)
        total = self._total = _sane(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9)
        self._stated_fps = fps
        self._raw_fps = fps or _sane(self._capture.get(cv2.CAP_PROP_FPS), 1000.0)
        is_network = isinstance(target, str) and "://" in target
        # A file behind HTTP has a length and ends; a stream has none.
        self.live = is_camera or (is_network and total is None)
        self.name = f"camera {target}" if is_camera else str(target)
        self.kind = "camera" if self.live else "video"
        self.fps = self._raw_fps / frames.stride if self._raw_fps else None
        self.frame_count = None if self.live or total is None else len(frames.of(int(total)))
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (width, height) if width > 0 and height > 0 else None
        self.reconnects = self.damaged = 0

    def close(self) -> None:
        """Release the file or the device; an iteration in another thread ends at its next frame."""
        self._closed.set()
        with self._lock:
            if self._capture is not None:
                self._capture.release()
                self._capture = None

    def __iter__(self) -> Iterator[SourceFrame]:
        period = 1.0 / (self._raw_fps or DEFAULT_FPS)
        clock = FrameClock(period)
        first: float | None = None
        index = 0 if self.live else self._seek()
        if self.live:
            self._grabbed = False  # the frame that proved the camera has grown old since
        failures = 0  # in a row
        while not self._closed.is_set() and not self._frames.is_past(index):
            stamp = self._grab(index, period)
            if stamp is None and self.live:
                if not self._closed.is_set():
                    self._reopen()
                continue
            if stamp is None:
                failures += 1
                index += 1
                if failures > LONGEST_DAMAGE or index > (self._total or 0):
                    break
                continue
            self.damaged += failures
            failures = 0
            if self.live:
                now = time.monotonic()
                first = now if first is None else first
                stamp = now - first
            seconds = clock.tick(stamp)
            if index in self._frames:
                image = self._retrieve()
                if image is not None:
                    yield SourceFrame(index, seconds, image, owned=True)
            index += 1
        if self.damaged:
            logger.warning("%d frames of %s cannot be decoded and are left out", self.damaged, self.name)

    def _seek(self) -> int:
        """Go to the first frame wanted where that is worth it and exact; the index of the frame that comes next."""
        start, target = self._frames.start, self._target
        if start < WORTH_SEEKING or not isinstance(target, str) or _file_backend() != cv2.CAP_FFMPEG:
            return 0
        if not has_constant_rate(Path(target)):
            return 0
        with self._lock:
            if self._capture is None:
                return 0
            rate, first = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_POS_MSEC)
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, start)
            found = self._capture.grab()
            passed = (self._capture.get(cv2.CAP_PROP_POS_MSEC) - first) / 1000 * rate
            if found and abs(passed - start) < 0.25:
                return start
            self._capture.release()  # elsewhere: count from the beginning
            self._capture = _open_capture(target)
            return 0

    def _grab(self, index: int, period: float) -> float | None:
        """Take the next frame out of the stream; its raw time in seconds, or None at the end."""
        with self._lock:
            if self._capture is None or not (self._grabbed or self._capture.grab()):
                return None
            self._grabbed = False
            if self._stated_fps:
                return index * period
            milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        # Backends without time stamps give 0 or -1 for every frame.
        return milliseconds / 1000 if math.isfinite(milliseconds) and milliseconds > 0 else index * period

    def _retrieve(self) -> np.ndarray | None:
        with self._lock:
            if self._capture is None:
                return None
            found, image = self._capture.retrieve()
        if not found or image is None:
            return None
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image

    def _reopen(self) -> None:
        """Try to open a lost live source again, with growing pauses.

        Raises:
            SourceError: It did not come back in time.
        """
        logger.warning("%s disappeared; trying to reopen it for %.0f s", self.name, self._retry_for)
        lost, pause = time.monotonic(), FIRST_RETRY
        with self._lock:
            if self._capture is not None:
                self._capture.release()
                self._capture = None
        while time.monotonic() - lost < self._retry_for:
            if self._closed.wait(pause):
                return
            pause = min(2 * pause, LAST_RETRY)
            capture = _open_capture(self._target)
            if capture is None:
                continue
            with self._lock:
                if self._closed.is_set():
                    capture.release()
                    return
                self._capture, self._grabbed = capture, True
            self.reconnects += 1
            logger.warning("%s is back after %.1f s", self.name, time.monotonic() - lost)
            return
        raise SourceError(
            f"{self.name} disappeared and did not come back within {self._retry_for:.0f} s: "
            "check its cable or network and start again"
        )


def _open_capture(target: str | int) -> cv2.VideoCapture | None:
    """An open VideoCapture with its first frame grabbed, or None."""
    with quiet_opencv():
        if isinstance(target, int):
            capture = cv2.VideoCapture(target)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an old frame is worse than a dropped one
        elif "://" in target:
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
            # FFmpeg hands a frame out when each of its threads, one a core, has got a later one: 16 cores make H.264 of
            # 30 fps half a second old. One thread decodes 4K at 30 fps.
            options += [cv2.CAP_PROP_N_THREADS, 1]
            capture = cv2.VideoCapture(target, _file_backend(), options)
        else:
            capture = cv2.VideoCapture(target, _file_backend())
        if capture.isOpened() and capture.grab():
            return capture
        capture.release()
    return None


def _file_backend() -> int:
    """FFmpeg where OpenCV has it: the other backends give no time stamps and write to stderr past OpenCV's log."""
    return cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends() else cv2.CAP_ANY


def _cannot_open(target: str | int) -> str:
    if isinstance(target, int):
        return (
            f"cannot open camera {target}: expected a connected camera that no other program uses; "
            "try another index or check the permission on the device"
        )
    if "://" in target:
        return (
            f"cannot read {target}: expected a reachable video stream; check the address, the login and the network; "
            "for an mp4 with its index at the end, that the server knows byte ranges (or ffmpeg -movflags +faststart)"
        )
    return (
        f"no frame of {target} can be decoded: expected a video that FFmpeg reads (mp4, avi, mkv, ...); "
        "check that the file is complete, or convert it with ffmpeg"
    )


def _sane(value: float, limit: float) -> float | None:
    """A property of a VideoCapture, or None where the container does not state it (0, -1, NaN, huge)."""
    return value if math.isfinite(value) and 0 < value <= limit else None
