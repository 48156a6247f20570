"""Pictures to a video file, through FFmpeg (PyAV)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO, cast

import av
import numpy as np
from av import FFmpegError, VideoFrame, VideoStream
from av.codec.codec import UnknownCodecError
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from transpose_sdk.errors import SinkError
from transpose_sdk.media.files import sink_errors

logger = logging.getLogger(__name__)

# Containers by a file's suffix, as FFmpeg calls them. AVI has MJPEG, which asks nothing of an editor; the others H.264,
# which is what browsers and phones play.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
STREAMED = "matroska"  # where there is no way back in the output
# Of 1080x1920, 1.2 MB for 60 pictures at 38.9 dB: as large and as good as MPEG-4 Part 2, and no B-frames to wait for.
X264 = {"preset": "ultrafast", "crf": "23"}
# Constant quality: 2 is visually the same, 31 the worst; 118 is FFmpeg's unit.
EVEN = {"flags": "qscale", "global_quality": str(3 * 118)}
# What a killed process loses at most of an MP4, in s; a player can enter the video as often.
FRAGMENT = 2.0
BT601 = 6  # how swscale makes luma and chroma of RGB, told to the players (ITU-T H.273)


class VideoEncoder:
    """A video of constant rate that grows picture by picture, and that can be played after a crash, too.

    An MP4 is written in fragments, which become a plain MP4 with one index at the end; the index of the others is no
    more than a help.

    Attributes:
        written: Pictures so far.
    """

    def __init__(self, target: Path | IO[bytes], fps: float, size: tuple[int, int]) -> None:
        """Open the file.

        Args:
            target: A path with one of the CONTAINERS' suffixes, or a binary stream, which gets Matroska.
            fps: Pictures a second.
            size: Width and height in px, both even.

        Raises:
            SinkError: It cannot be written.
        """
        self._flush = (lambda: None) if isinstance(target, Path) else target.flush
        self._name = str(target) if isinstance(target, Path) else str(getattr(target, "name", "the stream"))
        container = CONTAINERS[target.suffix.lower()] if isinstance(target, Path) else STREAMED
        codec = "mjpeg" if container == "avi" else "libx264" if has_x264() else "mpeg4"
        if codec == "mpeg4":
            logger.warning("%s is MPEG-4 Part 2, which browsers do not play: FFmpeg here has no x264", self._name)
        options = {"flush_packets": "1"}
        if container in ("mp4", "mov"):
            options["movflags"] = "hybrid_fragmented"
        with self._errors():
            file = f"file:{target.absolute()}" if isinstance(target, Path) else target
            self._container = av.open(file, "w", format=container, options=options)
            rate = Fraction(fps).limit_denominator(1001)
            stream = self._container.add_stream(codec, rate=rate, options=X264 if codec == "libx264" else EVEN)
            self._stream = cast(VideoStream, stream)
            self._stream.width, self._stream.height = size
            self._stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            context = self._stream.codec_context
            context.gop_size = max(1, round(FRAGMENT * fps))
            self._range = ColorRange.JPEG if codec == "mjpeg" else ColorRange.MPEG
            context.colorspace, context.color_range = BT601, self._range
            context.time_base = 1 / rate
            self._container.start_encoding()
        self._reformatter = VideoReformatter()
        self.written = 0

    def write(self, picture: NDArray[np.uint8], times: int = 1) -> None:
        """Add an (H, W, 3) uint8 BGR picture of the video's size, so many times, or not at all.

        Raises:
            SinkError: The disk is full.
        """
        with self._errors():
            if times <= 0:
                return
            picture = np.ascontiguousarray(picture)
            frame = self._reformatter.reformat(
                VideoFrame.from_numpy_buffer(picture, "bgr24"),
                format=self._stream.pix_fmt,
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=self._range,
            )
            for _ in range(times):
                frame.pts, frame.time_base = self.written, self._stream.codec_context.time_base
                self.written += 1  # first: Ctrl-C comes through right behind the call, and closing goes on from here
                self._mux(frame)
            self._flush()

    def close(self) -> None:
        """Finish the file. Raises SinkError where that fails."""
        with self._errors():
            try:
                self._mux(None)
            finally:
                self._container.close()
                self._flush()

    def _mux(self, frame: VideoFrame | None) -> None:
        # One call in C: Ctrl-C cannot come between the encoder, which counts on a packet, and the file that has to hold
        # it.
        self._container.mux(chain.from_iterable(map(self._stream.encode, (frame,))))  # type: ignore[arg-type]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with sink_errors(self._name):
                yield
        except FFmpegError as error:
            raise SinkError(f"cannot write {self._name} ({error.strerror}): check the size of the pictures") from error


@cache
def has_x264() -> bool:
    """Whether FFmpeg here can encode H.264; PyAV's wheels can."""
    try:
        av.codec.Codec("libx264", "w")
    except UnknownCodecError:
        return False
    return True
