"""Decoded frames of a file, a network stream or a pipe, in the order in which they are shown: FFmpeg through PyAV."""

from __future__ import annotations

import errno
import heapq
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import IO

import av
from av import FFmpegError, VideoFrame, VideoStream
from av.error import InvalidDataError
from av.format import Flags
from av.packet import Packet
from av.stream import Discard

from transpose_sdk.errors import SourceError
from transpose_sdk.media.pipe import Pipe

# A network stream that says nothing for this long counts as gone.
NETWORK_TIMEOUT = 5.0  # seconds
LONGEST_DAMAGE = 250  # packets in a row that cannot be decoded; what has no more in it than that is no video
# Pieces of a recording joined into one file: where the times go on by more than this, or back, the next piece begins.
# FFmpeg's own programs draw the line there, in the formats that may be joined (transport and program streams).
LONGEST_GAP = 10.0  # seconds
# Protocols of sources that cannot wait and that are worth waiting for when they break off.
LIVE_PROTOCOLS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtp", "srtp", "srt", "udp", "tcp", "mmsh", "mmst", "whep")


def is_network(target: str | IO[bytes] | Pipe) -> bool:
    """Whether a target of `Decoder` is neither a file nor a stream of this machine."""
    return isinstance(target, str) and not target.startswith("file:")


class Decoder:
    """An open video, whose decoder's failures are told: FFmpeg's errors, and pictures that it had to make up.

    Iterated by one thread; `close` may come from another.

    Attributes:
        stream: PyAV's video stream, not to be touched once the decoder is closed.
        traces: Frames so far that were made from one that could not be decoded, so that they may show traces of others.
        live: Whether the frames come as they are taken: by protocol, or as a camera's JPEGs over HTTP.
    """

    def __init__(self, target: str | IO[bytes] | Pipe, live: bool | None = None) -> None:
        """Open what FFmpeg can.

        Args:
            target: "file:" and a path, a URL, or a binary stream to read from.
            live: Overrules what the protocol says.

        Raises:
            FFmpegError: There is nothing that can be read.
            SourceError: There is no video in it, or one that this FFmpeg cannot decode.
        """
        network = is_network(target)
        self._lock = threading.Lock()  # nothing is closed while another thread reads from it
        self._closed = False
        options = {"rtsp_transport": "tcp"} if network else {}  # no picture is lost on the way
        timeout = NETWORK_TIMEOUT if network else None
        self._container = av.open(target, "r", options=options, timeout=timeout, metadata_errors="replace")
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream):
            self.close()
            raise SourceError("it has no pictures, only sound or text")
        if stream.codec_context is None:
            self.close()
            raise SourceError("its codec is unknown to FFmpeg")
        self.stream, self._codec = stream, stream.codec_context
        self._aspect = stream.sample_aspect_ratio
        self._aspect_is_coded = self._aspect == self._codec.sample_aspect_ratio
        for other in self._container.streams:
            if other is not stream:
                other.discard = Discard.all  # of a television channel's many streams, or of an HLS stream's sizes
        format_name = self._container.format.name
        protocol = target.split(":", 1)[0].lower() if network and isinstance(target, str) else ""
        self._is_http = protocol in ("http", "https")
        endless = format_name == "hls" and self._container.duration is None
        judged = protocol in LIVE_PROTOCOLS or format_name == "mpjpeg" or endless
        self.live = judged if live is None else live
        self._joinable = Flags.ts_discont in Flags(self._container.format.flags)
        # FFmpeg hands a frame out when each of its threads has got a later one: 16 cores make H.264 of 30 fps half a
        # second old. One thread decodes 4K at 30 fps.
        if self.live:
            self._codec.thread_count = 1
        else:
            self._codec.thread_type = "AUTO"
        self.traces = 0
        self._process = os.getpid()

    @property
    def duration(self) -> int | None:
        """How long everything in the container lasts, in microseconds; None where it does not say."""
        return self._container.duration

    def close(self) -> None:
        """Let go of the file or the connection; an iteration ends at its next frame. Harmless when called again."""
        with self._lock:
            self._closed = True
            self._container.close()

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel divided by its height now: the container's word, or else that of the coded frames."""
        return self._codec.sample_aspect_ratio if self._aspect_is_coded else self._aspect

    def seek(self, stamp: int) -> None:
        """Go to the last frame, not after a presentation time in units of the time base, that needs no other."""
        self._container.seek(stamp, stream=self.stream)

    def __iter__(self) -> Iterator[VideoFrame | None]:
        """The frames, and None in the place of each that cannot be decoded.

        Raises:
            FFmpegError: The connection was lost.
            SourceError: This is a child of the process that opened the video, where FFmpeg's threads are missing.
        """
        # A packet is a frame, or one that only others are made from. So when a packet cannot be decoded, its place is
        # found among the times of the packets whose frames have not come: pictures come out in order of their times.
        awaited: list[int] = []
        failed = in_a_row = 0
        tainted = False
        for packet in self._packets():
            frames: list[VideoFrame] = []
            try:
                if packet is None:
                    failed += 1
                else:
                    frames = self._codec.decode(packet)
                    in_a_row = 0
            except FFmpegError:
                failed += 1
                in_a_row += 1
                if in_a_row > LONGEST_DAMAGE:
                    break
            if packet is not None and packet.pts is not None and not packet.is_discard:
                heapq.heappush(awaited, packet.pts)
            for frame in frames:
                passed = failed if frame.pts is None else 0
                while awaited and frame.pts is not None and awaited[0] <= frame.pts:
                    passed += heapq.heappop(awaited) < frame.pts
                lost = min(passed, failed)
                failed -= lost
                yield from [None] * lost
                tainted = not frame.key_frame and (tainted or lost > 0)
                self.traces += tainted and not frame.is_corrupt
                tainted = tainted or frame.is_corrupt
                yield None if frame.is_corrupt else frame
        yield from [None] * failed

    def _packets(self) -> Iterator[Packet | None]:
        """The packets of the stream, the times of joined pieces one behind the other; None where one is broken."""
        shift = step = 0
        last: int | None = None
        for packet in self._read():
            if packet is not None and self._joinable and packet.dts is not None and packet.time_base is not None:
                now = packet.dts + shift
                if last is not None and (now < last or (now - last) * packet.time_base > LONGEST_GAP):
                    shift += last + step - now
                    now = last + step
                elif last is not None:
                    step = now - last or step
                packet.dts = last = now
                if packet.pts is not None:
                    packet.pts += shift
            yield packet

    def _read(self) -> Iterator[Packet | None]:
        """The packets of the stream as they are, and an empty one at the end; None where one is broken."""
        packets = self._container.demux(self.stream)
        packet: Packet | None
        broken, over = 0, False
        while not over and broken <= LONGEST_DAMAGE:
            if os.getpid() != self._process:
                raise SourceError("a video that was opened before a fork cannot be read after it: open it in the child")
            with self._lock:
                if self._closed:
                    return
                try:
                    packet, broken = next(packets, None), 0
                    over = packet is None
                except InvalidDataError:
                    packets = self._container.demux(self.stream)
                    packet, broken = None, broken + 1
                except FFmpegError as error:
                    # HTTP ends like this where the server has not said how much it sends.
                    if error.errno != errno.EIO or not self._is_http or self._container.size >= 0:
                        raise
                    packet, over = Packet(), True
                    if self.stream.time_base is not None:  # which the frames that are still in the decoder take over
                        packet.time_base = self.stream.time_base
            if packet is not None or broken == 1:
                yield packet
