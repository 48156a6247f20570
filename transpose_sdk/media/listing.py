"""Which files of a folder or a glob are pictures; what is passed over is named."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from transpose_sdk.media.animated import is_animated
from transpose_sdk.media.image_file import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

NAMED = 5  # files that the log names

# What a user may have taken for a picture or a video that is read, too.
MEDIA_SUFFIXES = frozenset(
    {
        ".3gp", ".apng", ".arw", ".avi", ".avif", ".cr2", ".cr3", ".dng", ".flv", ".gif", ".heic", ".heif", ".jxl",
        ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nef", ".ogv", ".orf", ".raf", ".rw2", ".ts",
        ".webm", ".wmv",
    }
)  # fmt: skip


def pictures_among(paths: Iterable[Path], name: str) -> tuple[list[Path], str]:
    """The picture files among paths, and the words about what else could have been meant, "" where there is nothing.

    Args:
        paths: Files.
        name: Of the folder or glob; the log names what is passed over beside pictures.
    """
    pictures, others = [], []
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES and not is_animated(path):
            pictures.append(path)
        elif suffix in MEDIA_SUFFIXES or suffix in IMAGE_SUFFIXES:
            others.append(path)
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    listed = ", ".join(path.name for path in sorted(others)[:NAMED])
    passed = f"{len(others)} files of {name} are videos, animations or of a kind that is not read: {listed}{more}"
    if others and pictures:
        logger.warning("%s; they are passed over: give them one by one, or convert them", passed)
    return pictures, passed if others else ""
