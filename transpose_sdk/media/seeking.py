"""Which video files can be entered in the middle without miscounting: those whose container promises a constant rate.

A seek goes to a time, a frame is asked for by its number, and the two are the same question only where every frame
lasts equally long. AVI says so where its index (the chunk idx1) has no empty frames, which stand for dropped ones; MP4
and QuickTime in their table of durations (ISO/IEC 14496-12, 8.6.1.2, the box stts). Matroska and transport streams do
not say, so they are counted through.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def has_constant_rate(path: Path) -> bool:
    """Whether every frame of a video file lasts equally long, by its container; False where it does not say."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
            end = path.stat().st_size
            if start[:4] == b"RIFF" and start[8:] == b"AVI ":
                return _avi_is_even(file, end)
            if start[4:8] != b"ftyp":
                return False
            videos = [track for track in _boxes(file, 0, end, b"moov", b"trak") if _is_video(file, *track)]
            return len(videos) == 1 and _mp4_is_even(file, *videos[0])
    except (OSError, struct.error):
        return False


def _avi_is_even(file: BinaryIO, end: int) -> bool:
    """Whether the file has one index, which is that of its first 2 GiB, and no empty frame in it."""
    start = 12
    while start + 8 <= end:
        file.seek(start)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind == b"idx1":
            entries = struct.iter_unpack("<4s4xII", file.read(size // 16 * 16))
            lengths = [length for name, _, length in entries if name[2:] in (b"dc", b"db")]
            return bool(lengths) and min(lengths) > 0 and start + size + 1024 > end
        start += 8 + size + size % 2
    return False


def _boxes(file: BinaryIO, start: int, end: int, *path: bytes) -> Iterator[tuple[int, int]]:
    """Where the contents of all boxes at a path begin and end."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1:  # a size of 64 bits follows
            (size,), header = struct.unpack(">Q", file.read(8)), 16
        stop = end if size == 0 else start + size  # 0: to the end of the file
        if size and size < header:
            return
        if kind == path[0]:
            if len(path) == 1:
                yield start + header, min(stop, end)
            else:
                yield from _boxes(file, start + header, min(stop, end), *path[1:])
        start = stop


def _is_video(file: BinaryIO, start: int, end: int) -> bool:
    for place, _ in _boxes(file, start, end, b"mdia", b"hdlr"):
        file.seek(place + 8)  # version and flags, predefined
        return file.read(4) == b"vide"
    return False


def _mp4_is_even(file: BinaryIO, start: int, end: int) -> bool:
    """Whether a track has one duration for all its frames but the last, which has no next one to be late for."""
    for place, _ in _boxes(file, start, end, b"mdia", b"minf", b"stbl", b"stts"):
        file.seek(place + 4)  # version and flags
        (entries,) = struct.unpack(">I", file.read(4))
        counts = [struct.unpack(">II", file.read(8))[0] for _ in range(min(entries, 3))]
        return entries == 1 or (entries == 2 and counts[1] == 1)
    return False
