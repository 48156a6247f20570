"""Videos and network streams, through FFmpeg."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import IO

from av import FFmpegError, VideoFrame
from av.video.reformatter import VideoReformatter

from transpose_sdk.arrays import Image
from transpose_sdk.errors import SourceError
from transpose_sdk.lifetime.closeable import Closeable
from transpose_sdk.media.ahead import Ahead
from transpose_sdk.media.decoder import Decoder, is_network
from transpose_sdk.media.frames import DEFAULT_FPS, FrameClock, FrameRange, SourceFrame
from transpose_sdk.media.pipe import Pipe
from transpose_sdk.media.reopening import reopened
from transpose_sdk.media.seeking import time_of_frame
from transpose_sdk.media.upright import deinterlaced, upright, upright_size

logger = logging.getLogger(__name__)

WORTH_SEEKING = 32  # frames; there is a frame that needs no other about as often
HIGHEST_RATE = 1000.0  # frames a second; what is above is the unit of the times
LARGEST_COUNT = 1e9  # frames that a container can state

Arrival = tuple[VideoFrame | None, float]  # a decoded frame, or one that cannot be decoded, and when (monotonic s)


class VideoSource(Closeable):
    """A video file, a pipe or a network stream, as players show it; a live one that disappears is reopened.

    Turned, mirrored, with square pixels and without the comb of interlacing. Frames before `start` and between strides
    are decoded but not converted. A `start` far into a file is sought where the container promises that this finds the
    frame that counting would (see `seeking`). A frame that cannot be decoded is left out, keeps its index and is
    counted; so is one that FFmpeg had to make up in part.

    A network stream is read on a thread of its own: `close` ends an iteration at once, and the connection when FFmpeg's
    read comes back, after 5 s of silence at the latest.

    Attributes:
        reconnects: How often a live source was lost and found again.
        damaged: Frames so far that cannot be decoded.
    """

    def __init__(
        self,
        target: str | IO[bytes] | Pipe,
        name: str,
        frames: FrameRange,
        fps: float | None = None,
        live: bool | None = None,
        retry_for: float = 30.0,
    ) -> None:
        """Open the target and decode its first frame.

        Args:
            target: "file:" and a path, a URL, or a binary stream to read from.
            name: What the user calls it.
            frames: The frames to hand out.
            fps: Overrules the rate that the container states, which then has no say in the times either.
            live: Whether the frames come as they are taken, and come again after a break. None: by the protocol, and
                for a camera's JPEGs over HTTP; what else comes over HTTP ends where it ends.
            retry_for: Seconds to try to get a lost live source back before giving up.

        Raises:
            SourceError: It cannot be opened, or no frame of it can be decoded.
        """
        self._target = target
        self._stated_live = live
        self._frames = frames
        self._retry_for = retry_for
        self._stated_fps = fps
        self._closed = threading.Event()
        self.name = name
        self.reconnects = self.damaged = self._earlier_traces = 0
        self._told = False
        self._open()
        stream = self._decoder.stream
        self.live = self._decoder.live
        self.kind = "camera" if self.live else "video"
        self._raw_fps = fps or _rate(stream.guessed_rate, stream.average_rate)
        self.fps = self._raw_fps / frames.stride if self._raw_fps else None
        total = stream.frames or _seconds(self._decoder) * (self._raw_fps or 0)
        known = not self.live and 0 < total < LARGEST_COUNT
        self.frame_count = len(frames.of(round(total))) if known else None
        self.size: tuple[int, int] | None = upright_size(self._first, self._decoder.aspect)
        self._period = 1.0 / (self._raw_fps or DEFAULT_FPS)
        self._clock = FrameClock(self._period)
        self._reformatter = VideoReformatter()
        self._index: int | None = None  # of the next frame
        self._began: float | None = None  # when a live source's first frame came
        self._ahead: Ahead[Arrival] | None = None
        if is_network(target):
            self._ahead = Ahead(self._arrivals(), waiting=not self.live)
        self._rest: Iterable[Arrival] = self._ahead or self._arrivals()

    def close(self) -> None:
        """Let go of the file or the connection; an iteration in another thread ends at its next frame."""
        self._closed.set()
        if self._ahead is not None:
            self._ahead.close()  # the thread that reads is in no hurry, and closes the decoder
        else:
            if isinstance(self._target, Pipe):
                self._target.close()  # wakes who waits for its writer
            self._decoder.close()
        self._tell()
        self._rest = ()  # it refers to this object, and the two would wait for Python's collector

    @property
    def traces(self) -> int:
        """Frames so far that were made from damaged ones, up to the next that needs no other."""
        return self._earlier_traces + self._decoder.traces

    def __iter__(self) -> Iterator[SourceFrame]:
        if self._index is None:
            self._index = 0 if self.live else self._seek()
        for frame, arrived in self._rest:
            if self._closed.is_set() or self._frames.is_past(self._index):
                break
            index, self._index = self._index, self._index + 1
            if frame is None:
                self.damaged += 1
                continue
            seconds = self._clock.tick(self._stamp(frame, index, arrived))
            if index in self._frames:
                yield SourceFrame(index, seconds, self._show(frame), owned=True)
        self._tell()

    def _stamp(self, frame: VideoFrame, index: int, arrived: float) -> float:
        """A frame's raw time in s: since the first one for live sources, since the stream's start for others."""
        if self.live:
            self._began = arrived if self._began is None else self._began
            return arrived - self._began
        if self._stated_fps or frame.time is None:
            return index * self._period
        return frame.time - self._start

    def _show(self, frame: VideoFrame) -> Image:
        return upright(frame, self._decoder.aspect, self._reformatter)

    def _tell(self) -> None:
        """Say once, at the end, what was left out."""
        if self.damaged and not self._told:
            self._told = True
            traces = f"; {self.traces} made from them may show traces of other pictures" if self.traces else ""
            logger.warning("%d frames of %s cannot be decoded and are left out%s", self.damaged, self.name, traces)

    def _open(self) -> None:
        """Open the target, and decode up to its first frame. Raises SourceError."""
        try:
            self._decoder = Decoder(self._target, self._stated_live)
            self._decoded = iter(self._decoder)
            lost: list[VideoFrame | None] = []
            for frame in self._decoded:
                if frame is not None:
                    break
                lost.append(frame)
            else:
                self._decoder.close()
                raise SourceError("nothing in it can be decoded")
        except (FFmpegError, SourceError, OSError) as error:
            raise SourceError(_cannot_open(self.name, self._target, error)) from error
        self._first: VideoFrame = frame
        self._decoded = chain(lost, [frame], self._decoded)
        stream = self._decoder.stream
        began = stream.start_time * stream.time_base if stream.start_time is not None and stream.time_base else None
        self._start = float(began) if began is not None else frame.time or 0.0

    def _seek(self) -> int:
        """Go to the first frame wanted where that is worth it and exact; the index of the frame that comes next."""
        if self._frames.start < WORTH_SEEKING or self._ahead is not None:
            return 0
        stream = self._decoder.stream
        since = time_of_frame(stream, self._frames.start)
        if since is None:
            return 0
        wanted = since + (stream.start_time or 0)
        near = since / self._frames.start / 4
        found: VideoFrame | None = None
        with suppress(FFmpegError):
            self._decoder.seek(wanted)
            decoded = iter(self._decoder)
            found = next((each for each in decoded if each and each.pts and each.pts > wanted - near), None)
        if found is not None and found.pts is not None and found.pts < wanted + near:
            self._decoded = chain([found], decoded)
            return self._frames.start
        self._decoder.close()
        self._open()  # the frame is elsewhere: count from the beginning
        return 0

    def _arrivals(self) -> Iterator[Arrival]:
        """The frames and when they came, of a live source without an end."""
        try:
            while not self._closed.is_set():
                try:
                    for frame in deinterlaced(self._decoded):
                        yield frame, time.monotonic()
                        if self._closed.is_set():
                            return
                except FFmpegError as error:
                    if not self.live:
                        raise SourceError(
                            f"reading {self.name} broke off ({_reason(error)}): check the disk or the network"
                        ) from error
                if not self.live or self._closed.is_set() or not is_network(self._target):
                    return
                self._decoder.close()
                if reopened(self._again, self.name, self._retry_for, self._closed) is None:
                    return
                self.reconnects += 1
        finally:
            self._decoder.close()

    def _again(self) -> bool | None:
        before = self._decoder
        try:
            self._open()
        except SourceError:
            return None
        self._earlier_traces += before.traces
        return True


def _rate(guessed: Fraction | None, average: Fraction | None) -> float | None:
    """Frames a second: those of the fastest part where the rate varies, so that a recording has room for all."""
    for rate in (guessed, average):
        if rate and 0 < rate <= HIGHEST_RATE:
            return float(rate)
    return None


def _seconds(decoder: Decoder) -> float:
    """How long the video lasts by what its container says; 0 where it does not."""
    stream = decoder.stream
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (decoder.duration or 0) / 1e6


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().lower()


def _cannot_open(name: str, target: str | IO[bytes] | Pipe, error: Exception) -> str:
    if is_network(target):
        return (
            f"cannot read {name} ({_reason(error)}): expected a reachable video stream; check the address, the login "
            "and the network; for an mp4 with its index at the end, that the server knows byte ranges (or ffmpeg "
            "-movflags +faststart)"
        )
    if isinstance(target, Pipe):
        return (
            f"no frame of {name} can be decoded ({_reason(error)}): expected a video that FFmpeg reads in one go; not "
            "an mp4 with its index at the end (ffmpeg -movflags +faststart), and rather Matroska or a transport stream"
        )
    return (
        f"no frame of {name} can be decoded ({_reason(error)}): expected a video that FFmpeg reads (mp4, avi, mkv, "
        "...); check that the file is complete, or convert it with ffmpeg"
    )
