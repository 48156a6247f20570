"""Picture files that hold more than one picture: GIF, and some of WebP and PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from transpose_sdk.arrays import Image
from transpose_sdk.checks.small_file import open_regular
from transpose_sdk.errors import SourceError
from transpose_sdk.media.quiet import quiet_opencv

FFMPEG_SUFFIXES = frozenset({".gif", ".apng"})  # FFmpeg reads them as videos, and APNG under any name
HEAD = 1 << 16  # bytes; the chunk that tells stands before the first picture


def is_animated(path: Path) -> bool:
    """Whether a file holds pictures to be shown one after another; False where it cannot be read."""
    suffix = path.suffix.lower()
    if suffix in FFMPEG_SUFFIXES:
        return True
    if suffix not in (".webp", ".png"):
        return False
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
    except OSError:
        return False
    if suffix == ".webp":  # a flag of the extended header (developers.google.com/speed/webp/docs/riff_container)
        return head[:4] == b"RIFF" and head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)
    return head[:4] == b"\x89PNG" and b"acTL" in head.split(b"IDAT")[0]


def animated_webp(path: Path) -> Iterator[tuple[float, Image]]:
    """The pictures of an animated WebP, which FFmpeg does not read, and when each is shown, in s.

    Raises:
        SourceError: OpenCV is too old, or cannot decode it.
    """
    if not hasattr(cv2, "imreadanimation"):
        raise SourceError(f"{path} is an animated WebP, which OpenCV {cv2.__version__} does not read: install 4.11")
    with quiet_opencv():
        found, animation = cv2.imreadanimation(str(path))
    if not found:
        raise SourceError(f"{path} cannot be decoded: expected an animated WebP; check that it is complete")
    time = 0.0
    for picture, milliseconds in zip(animation.frames, animation.durations, strict=True):
        yield time, np.asarray(picture, np.uint8)
        time += float(milliseconds) / 1000
