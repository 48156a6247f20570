"""Sinks for people to look at: annotated videos and images."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.errors import InputError, SinkError
from transpose_sdk.media.files import FileSink, PosedFrame, sink_errors, write_whole
from transpose_sdk.media.frames import DEFAULT_FPS
from transpose_sdk.media.quiet import quiet_opencv
from transpose_sdk.media.sources import IMAGE_SUFFIXES

# The codecs that every OpenCV build can write, for each container.
VIDEO_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
# cv2.VideoWriter says nothing when the disk is full. Stopping with this much left keeps room for the index at the end
# of an mp4, without which nothing of it can be played.
RESERVED_BYTES = 16 << 20
# A gap in the times is shown as a still picture, of at most this many seconds.
LONGEST_STILL = 5.0


class VideoSink(FileSink):
    """An annotated video of constant frame rate that keeps the pace of the frames' own times.

    A frame is repeated where the next one comes late (a camera that slows down, dropped frames). A frame of another
    size than the first is fitted into the first one's size. One pixel is cut off odd widths and heights.
    """

    def __init__(self, path: str | Path, fps: float | None = None, annotator: PoseAnnotator | None = None) -> None:
        """Create the file.

        Args:
            path: .mp4, .m4v, .mov, .mkv or .avi; a missing folder is created. Of these .mkv and .avi can be played
                even after the process was killed.
            fps: Frames per second; 30 if unknown.
            annotator: How to draw the poses.

        Raises:
            SinkError: The suffix is none of these, or the file cannot be written.
        """
        self.path = Path(path)
        if self.path.suffix.lower() not in VIDEO_CODECS:
            raise SinkError(
                f"cannot write a video to {path}: expected a name that ends in {', '.join(VIDEO_CODECS)}; rename it"
            )
        if fps is not None and not fps > 0:
            raise InputError(f"fps={fps!r}: give frames per second as a number above 0")
        self.fps = fps or DEFAULT_FPS
        self._annotator = annotator or PoseAnnotator()
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._first_time = 0.0
        self._written = 0
        self._last: NDArray[np.uint8] | None = None
        self._closed = False
        with sink_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("wb").close()  # fails now, not after the first frame was computed

    def write(self, frame: PosedFrame) -> None:
        """Draw the poses and add the picture.

        Raises:
            SinkError: No codec, or the disk is full; what was written so far can be played.
        """
        if self._closed:
            raise SinkError(f"{self.path} is closed: write inside the with block")
        picture = self._annotator.annotate(frame.image, frame.poses)
        if self._writer is None:
            self._size = picture.shape[1], picture.shape[0]
            self._writer = self._open()
            self._first_time = frame.time
        picture = fit(picture, self._size)
        with sink_errors(self.path):
            free = shutil.disk_usage(self.path.parent).free
        if free < RESERVED_BYTES:
            raise SinkError(f"cannot write {self.path}: the disk is full ({free >> 20} MiB left); free some space")
        due = round((frame.time - self._first_time) * self.fps)
        still = self._last if self._last is not None else picture
        for _ in range(min(due - self._written, round(LONGEST_STILL * self.fps))):
            self._writer.write(still)
        self._writer.write(picture)
        self._written = max(due, self._written) + 1
        self._last = picture

    def _open(self) -> cv2.VideoWriter:
        code = VIDEO_CODECS[self.path.suffix.lower()]
        with quiet_opencv():
            writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*code), self.fps, self._size)
        if not writer.isOpened():
            raise SinkError(
                f"OpenCV cannot write {code} video of {self._size[0]}x{self._size[1]} px to {self.path}: expected a "
                "build with FFmpeg; try a name that ends in .avi, or install opencv-python-headless from PyPI"
            )
        return writer

    def close(self) -> None:
        """Finish the video; where no frame came, leave no file.

        Raises:
            SinkError: The finished file cannot be played (a full disk: OpenCV does not report failed writes).
        """
        if self._closed:
            return
        self._closed = True
        if self._writer is None:
            with sink_errors(self.path):
                self.path.unlink(missing_ok=True)
            return
        self._writer.release()
        with quiet_opencv():
            check = cv2.VideoCapture(str(self.path))
            playable = check.isOpened() and check.grab()
            check.release()
        if not playable:
            raise SinkError(f"{self.path} is damaged: expected a playable video; check the free space of its disk")


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
            SinkError: It cannot be written, or a single file would have to hold a second image.
        """
        if self._single and self._written:
            raise SinkError(
                f"{self.path} holds one image but there are more: give a folder, or a video such as out.mp4"
            )
        path = self.path
        if not self._single:
            path = path / (self._names[frame.index] if self._names is not None else f"{frame.index:06d}.jpg")
        found, data = cv2.imencode(path.suffix, self._annotator.annotate(frame.image, frame.poses))
        if not found:
            raise SinkError(f"OpenCV cannot encode {path.suffix} images for {path}: use .png or .jpg")
        write_whole(path, data.tobytes())
        self._written += 1


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
