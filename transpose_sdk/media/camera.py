"""Cameras of this machine, through OpenCV."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np

from transpose_sdk.errors import InputError, SourceError
from transpose_sdk.lifetime.closeable import Closeable
from transpose_sdk.media.frames import DEFAULT_FPS, FrameClock, FrameRange, SourceFrame
from transpose_sdk.media.quiet import quiet_opencv
from transpose_sdk.media.reopening import reopened

HIGHEST_CAMERA = 99  # OpenCV takes hundreds for its drivers' numbers, and anything below 0 crashes it


class CameraSource(Closeable):
    """A camera; one that disappears is reopened. A frame's time is when it came.

    Attributes:
        reconnects: How often it was lost and found again.
    """

    kind = "camera"
    live = True
    frame_count: int | None = None

    def __init__(self, number: int, frames: FrameRange, fps: float | None = None, retry_for: float = 30.0) -> None:
        """Open the camera and grab its first frame.

        Args:
            number: The camera's index, from 0.
            frames: The frames to hand out; those between strides are grabbed but not converted.
            fps: Overrules the rate that the driver states.
            retry_for: Seconds to try to get a lost camera back before giving up.

        Raises:
            InputError: Cameras have no such number.
            SourceError: It cannot be opened, or gives no picture.
        """
        if not 0 <= number <= HIGHEST_CAMERA:
            raise InputError(f"there is no camera {number}: give a number from 0 to {HIGHEST_CAMERA}")
        self._number = number
        self._frames = frames
        self._retry_for = retry_for
        self._closed = threading.Event()
        self._lock = threading.Lock()  # VideoCapture must not be released while another thread reads from it
        self._capture = _open_capture(number)
        if self._capture is None:
            raise SourceError(
                f"cannot open camera {number}: expected a connected camera that no other program uses; "
                "try another index or check the permission on the device"
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._raw_fps = fps or (rate if math.isfinite(rate) and 0 < rate <= 1000 else None)
        self.fps = self._raw_fps / frames.stride if self._raw_fps else None
        self.name = f"camera {number}"
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (width, height) if width > 0 and height > 0 else None
        self.reconnects = 0

    def close(self) -> None:
        """Release the device; an iteration in another thread ends at its next frame."""
        self._closed.set()
        with self._lock:
            if self._capture is not None:
                self._capture.release()
                self._capture = None

    def __iter__(self) -> Iterator[SourceFrame]:
        clock = FrameClock(1.0 / (self._raw_fps or DEFAULT_FPS))
        first: float | None = None
        index = 0
        while not self._closed.is_set() and not self._frames.is_past(index):
            image = self._read(index in self._frames)
            if image is None:
                if not self._closed.is_set():
                    self._reopen()
                continue
            now = time.monotonic()
            first = now if first is None else first
            seconds = clock.tick(now - first)
            if index in self._frames:
                yield SourceFrame(index, seconds, image, owned=True)
            index += 1

    def _read(self, wanted: bool) -> np.ndarray | None:
        """The next picture, (0, 0, 3) where it is not wanted; None where the camera has gone."""
        with self._lock:
            if self._capture is None or not self._capture.grab():
                return None
            if not wanted:
                return np.empty((0, 0, 3), np.uint8)
            found, image = self._capture.retrieve()
        if not found or image is None:
            return None
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image

    def _reopen(self) -> None:
        with self._lock:
            if self._capture is not None:
                self._capture.release()
                self._capture = None
        capture = reopened(lambda: _open_capture(self._number), self.name, self._retry_for, self._closed)
        with self._lock:
            if capture is not None and self._closed.is_set():
                capture.release()
            elif capture is not None:
                self._capture = capture
                self.reconnects += 1


def _open_capture(number: int) -> cv2.VideoCapture | None:
    """An open VideoCapture whose first frame came, which proves that there is a camera; or None."""
    with quiet_opencv():
        capture = cv2.VideoCapture(number)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an old frame is worse than a dropped one
        if capture.isOpened() and capture.grab():
            return capture
        capture.release()
    return None
