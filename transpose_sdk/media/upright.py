"""A decoded frame as players show it: progressive, with square pixels, turned and mirrored as the file says, BGR."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
from av import FFmpegError, VideoFrame
from av.filter import Graph
from av.sidedata.sidedata import SideData
from av.video.reformatter import Interpolation, VideoReformatter

from transpose_sdk.arrays import Image

# Pixels whose sides are further apart than this are a mistake in the file.
LONGEST_PIXEL = 8


def upright(frame: VideoFrame, aspect: Fraction | None, reformatter: VideoReformatter) -> Image:
    """The picture of a frame as (H, W, 3) uint8 BGR, which belongs to the caller alone.

    Args:
        frame: As it was decoded.
        reformatter: The same for all frames of a video: it keeps its tables.
        aspect: Width of a pixel divided by its height. The shorter side of the picture's pixels is scaled up, so that
            nothing that was recorded is lost.
    """
    width, height = _square(frame.width, frame.height, aspect)
    shown = reformatter.reformat(frame, width, height, "bgr24", interpolation=Interpolation.BICUBIC)
    plane = shown.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : 3 * width]
    image = np.ascontiguousarray(rows).reshape(height, width, 3)  # copies only where FFmpeg has padded the rows
    transposed, left, up = orientation(frame)
    if transposed:
        image = np.asarray(cv2.transpose(image), np.uint8)
    if left or up:
        image = np.asarray(cv2.flip(image, -1 if left and up else 1 if left else 0), np.uint8)
    return image


def upright_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height in px of what `upright` gives."""
    width, height = _square(frame.width, frame.height, aspect)
    return (height, width) if orientation(frame)[0] else (width, height)


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """How the display matrix changes a picture: transposed, and then mirrored left to right, and upside down.

    The matrix (ISO/IEC 14496-12, 6.2.2) takes a place (x, y) to (a x + c y, b x + d y); only its signs count, for a
    player turns by right angles. FFmpeg's rotation alone would not tell a mirrored picture from one upside down.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _square(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    if not aspect or not Fraction(1, LONGEST_PIXEL) <= aspect <= LONGEST_PIXEL:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def deinterlaced(frames: Iterator[VideoFrame | None]) -> Iterator[VideoFrame | None]:
    """The frames with one moment in each: two fields woven together are told apart, progressive ones pass as they are.

    BWDIF needs the next frame, too, so frames come one later from the first interlaced one on; one picture a frame.
    """
    graph: Graph | None = None
    layout: tuple[object, ...] = ()
    inside: deque[VideoFrame | None] = deque()  # what has gone into the filter, and None where a frame was lost
    for frame in frames:
        changed = frame is not None and layout != (frame.width, frame.height, frame.format.name)
        if graph is not None and changed:
            yield from _drain(graph, inside)
            graph = None
        if frame is not None and graph is None and frame.interlaced_frame:
            layout = (frame.width, frame.height, frame.format.name)
            graph = _bwdif(frame)
        if graph is None:
            yield frame
            continue
        inside.append(frame)
        if frame is not None:
            graph.push(frame)
            yield from _pull(graph, inside)
    if graph is not None:
        yield from _drain(graph, inside)


def _bwdif(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(
        source,
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _pull(graph: Graph, inside: deque[VideoFrame | None]) -> Iterator[VideoFrame | None]:
    """What the filter has ready."""
    while True:
        try:
            frame = graph.pull()
        except FFmpegError:  # it wants more, or has no more
            return
        while inside and inside.popleft() is None:
            yield None
        if isinstance(frame, VideoFrame):  # a graph of pictures gives nothing else
            yield frame


def _drain(graph: Graph, inside: deque[VideoFrame | None]) -> Iterator[VideoFrame | None]:
    graph.push(None)
    yield from _pull(graph, inside)
    yield from inside
    inside.clear()
