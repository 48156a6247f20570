"""Sinks for people to look at: annotated videos and images."""

from __future__ import annotations

import logging
import math
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.errors import InputError, SinkError
from transpose_sdk.media.encoding import CONTAINERS, VideoEncoder
from transpose_sdk.media.files import FileSink, PosedFrame, closed_error, sink_errors, write_whole
from transpose_sdk.media.frames import DEFAULT_FPS, FrameClock
from transpose_sdk.media.image_file import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

# Stopping with this much left on the disk keeps room for the index at the end of an mp4.
RESERVED_BYTES = 16 << 20
# A gap in the times is shown as a still picture, of at most this many seconds: twice as long as a lost camera is waited
# for, while a clock that was set anew must not fill the disk.
LONGEST_STILL = 60.0
RATE_FRAMES = 8  # whose times decide a rate that is not known; they wait in memory until then
# Frames a second that a video gets at least: slower material repeats each picture equally often. And at most.
SMOOTH_FPS, HIGHEST_FPS = 24.0, 120.0


class VideoSink(FileSink):
    """An annotated video of constant frame rate that lasts as long as the frames' own times, to half a picture.

    A frame is shown until the next one's time: repeated where that comes late (a camera that slows down, dropped
    frames, a variable rate), left out where that comes before the next picture is due. So the newest frame is written
    with the next one, or on closing. A frame of another size than the first is fitted into the first one's size. One
    pixel is cut off odd widths and heights. The video is H.264, which browsers and phones play, and MJPEG in an AVI.

        >>> import transpose_sdk as tp
        >>> with tp.PoseStream("clip.mp4") as stream, tp.VideoSink("out.mp4") as video:
        ...     for frame in stream:
        ...         video.write(frame)

    Attributes:
        path: The file.
        fps: Pictures a second; None until the first frames have told it.
    """

    def __init__(
        self, path: str | Path | IO[bytes], fps: float | None = None, annotator: PoseAnnotator | None = None
    ) -> None:
        """Create the file.

        Args:
            path: .mp4, .m4v, .mov, .mkv or .avi; a missing folder is created. All can be played even after the process
                was killed, up to its last 2 s. Or an open binary stream such as sys.stdout.buffer, which gets Matroska
                and is left open.
            fps: Frames per second. If unknown, the times of the first frames decide: their rate, or the smallest
                multiple of it that moves smoothly.
            annotator: How to draw the poses.

        Raises:
            SinkError: The suffix is none of these, or the file cannot be written.
        """
        self._target = Path(path) if isinstance(path, str | Path) else path
        self.path = self._target if isinstance(self._target, Path) else Path(str(getattr(path, "name", "the stream")))
        if isinstance(self._target, Path) and self.path.suffix.lower() not in CONTAINERS:
            raise SinkError(
                f"cannot write a video to {path}: expected a name that ends in {', '.join(CONTAINERS)}; rename it"
            )
        if fps is not None and not fps > 0:
            raise InputError(f"fps={fps!r}: give frames per second as a number above 0")
        self.fps = fps
        self._annotator = annotator or PoseAnnotator()
        self._clock = FrameClock(1 / (fps or DEFAULT_FPS))
        self._size = (0, 0)
        self._waiting: list[tuple[float, NDArray[np.uint8]]] = []  # times and pictures that are not written yet
        self._intervals: deque[float] = deque(maxlen=RATE_FRAMES)  # between the last frames, in s
        self._video: _PacedVideo | None = None
        self._closed = False
        if isinstance(self._target, Path):
            with sink_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.open("wb").close()  # fails now, not after the first frame was computed

    def write(self, frame: PosedFrame) -> None:
        """Draw the poses and add the picture.

        Raises:
            SinkError: The disk is full, or the sink is closed; what was written so far can be played.
        """
        if self._closed:
            raise closed_error(self.path)
        picture = self._annotator.annotate(frame.image, frame.poses)
        height, width = (max(2, side // 2 * 2) for side in picture.shape[:2])
        if not self._waiting:
            self._size = (width, height)
        if self._size == (width, height):
            picture = picture[:height, :width]
        if isinstance(self._target, Path):
            with sink_errors(self.path):
                free = shutil.disk_usage(self.path.parent).free
            if free < RESERVED_BYTES:
                raise SinkError(f"cannot write {self.path}: the disk is full ({free >> 20} MiB left); free some space")
        self._waiting.append((self._clock.tick(frame.time), fit(picture, self._size)))
        if self.fps is not None or len(self._waiting) >= RATE_FRAMES:
            self._write_waiting()

    def _write_waiting(self) -> _PacedVideo:
        """Write all pictures whose end is known, which are all but the last."""
        times = [time for time, _ in self._waiting]
        if self.fps is None:
            self.fps = _smooth_rate(times)
        if self._video is None:
            self._video = _PacedVideo(self._target, self.fps, self._size, times[0])
        for (start, picture), end in zip(self._waiting, times[1:], strict=False):
            if end - start > LONGEST_STILL:
                logger.warning("%s shows %.0f s without a frame as %.0f s", self.path, end - start, LONGEST_STILL)
                self._video.skip(end - start - LONGEST_STILL)
            self._video.show(picture, end)
            self._intervals.append(min(end - start, LONGEST_STILL))
        del self._waiting[:-1]
        return self._video

    def close(self) -> None:
        """Finish the video; where no frame came, leave no file.

        Raises:
            SinkError: The file cannot be finished.
        """
        if self._closed:
            return
        self._closed = True
        if not self._waiting:
            if isinstance(self._target, Path):
                with sink_errors(self.path):
                    self.path.unlink(missing_ok=True)
            return
        start, picture = self._waiting[-1]
        try:
            video = self._write_waiting()
            # How long the last frame lasts is told by nobody: as long as the ones before it.
            lasts = min(self._intervals[-1], float(np.median(self._intervals))) if self._intervals else 1 / video.fps
            video.show(picture, start + lasts)
        finally:
            if self._video is not None:
                self._video.close(picture)


class _PacedVideo:
    """A video of constant rate, whose pictures last until given times."""

    def __init__(self, target: Path | IO[bytes], fps: float, size: tuple[int, int], start: float) -> None:
        """Open the file. Raises SinkError where that fails."""
        self.fps = fps
        self._start = start
        self._encoder = VideoEncoder(target, fps, size)

    def show(self, picture: NDArray[np.uint8], end: float) -> None:
        """Write a picture as often as it takes to last until a time in s, which may be not at all."""
        self._encoder.write(picture, math.floor((end - self._start) * self.fps + 0.5) - self._encoder.written)

    def skip(self, seconds: float) -> None:
        """Leave out so much of the time that comes next."""
        self._start += seconds

    def close(self, picture: NDArray[np.uint8]) -> None:
        """Finish the file; where all frames were over before the first picture was due, it holds this one."""
        try:
            if not self._encoder.written:
                self._encoder.write(picture)
        finally:
            self._encoder.close()


class ImageSink(FileSink):
    """Annotated images: one file for a single image, a folder for many."""

    def __init__(
        self, path: str | Path, names: Sequence[str] | None = None, annotator: PoseAnnotator | None = None
    ) -> None:
        """Create the folder.

        Args:
            path: A file name with an image's suffix for one image, or a folder.
            names: File names inside the folder by frame index; 000000.jpg and so on if not given.
            annotator: How to draw the poses.

        Raises:
            SinkError: The suffix is not that of an image, or the folder cannot be created.
        """
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        self._single = suffix in IMAGE_SUFFIXES
        if suffix and not self._single and not self.path.is_dir():
            raise SinkError(
                f"cannot write images to {path}: expected a folder or a file name that ends in .png or .jpg; rename it"
            )
        self._names = names
        self._annotator = annotator or PoseAnnotator()
        self._written = 0
        with sink_errors(self.path):
            (self.path.parent if self._single else self.path).mkdir(parents=True, exist_ok=True)

    def write(self, frame: PosedFrame) -> None:
        """Draw the poses and write the image.

        Raises:
            SinkError: It cannot be written, a single file would have to hold a second image, or the sink is closed.
        """
        self.require_open(self.path)
        if self._single and self._written:
            raise SinkError(
                f"{self.path} holds one image but there are more: give a folder, or a video such as out.mp4"
            )
        path = self.path
        if not self._single:
            path = path / (self._names[frame.index] if self._names is not None else f"{frame.index:06d}.jpg")
        kind = ".jpg" if path.suffix.lower() == ".jfif" else path.suffix  # a name of JPEG that OpenCV does not know
        found, data = cv2.imencode(kind, self._annotator.annotate(frame.image, frame.poses))
        if not found:
            raise SinkError(f"OpenCV cannot encode {path.suffix} images for {path}: use .png or .jpg")
        write_whole(path, data.tobytes())
        self._written += 1


def _smooth_rate(times: list[float]) -> float:
    """Pictures a second for frames with these times: their usual rate, or its smallest multiple from SMOOTH_FPS on."""
    intervals = np.diff(times)
    rate = 1 / float(np.median(intervals)) if len(intervals) else DEFAULT_FPS
    rate *= math.ceil(SMOOTH_FPS / rate - 0.02)
    if abs(rate - round(rate)) < 0.02 * rate:  # what a camera's clock takes for 29.7 is 30
        rate = round(rate)
    return min(rate, HIGHEST_FPS)


def fit(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a picture into (width, height) px without distorting it, on black."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    factor = min(size[0] / width, size[1] / height)
    inner_width, inner_height = max(1, round(width * factor)), max(1, round(height * factor))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner_width) // 2, (size[1] - inner_height) // 2
    canvas[top : top + inner_height, left : left + inner_width] = cv2.resize(
        picture, (inner_width, inner_height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    return canvas
