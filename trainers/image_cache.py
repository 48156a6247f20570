"""Training images, decoded once into one file of raw pixels that every later run maps into memory.

Decoding costs 2-4 ms an image, a warp from decoded pixels 0.1 ms: without the cache a small network waits for its data.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import DataError

logger = logging.getLogger(__name__)

CHUNK = 256  # images decoded ahead of the disk, so that a slow disk does not fill the memory


class ImageCache:
    """Read-only access to decoded images by index; safe to share with forked workers.

    Args:
        folder: The images' folder.
        file_names: Paths relative to `folder`.
        cache_folder: Where the decoded pixels are kept (3 bytes a pixel of the whole set).

    Attributes:
        readable: (number of images,) bool; an image that could not be decoded is empty, (0, 0, 3).

    Raises:
        DataError: No image could be decoded.
    """

    def __init__(self, folder: Path, file_names: Sequence[str], cache_folder: Path) -> None:
        digest = hashlib.sha256("\n".join([str(folder.resolve()), *file_names]).encode()).hexdigest()[:16]
        pixels, index = cache_folder / f"images-{digest}.bin", cache_folder / f"images-{digest}.json"
        if not _is_current(index, folder, file_names):
            cache_folder.mkdir(parents=True, exist_ok=True)
            _decode_all(folder, file_names, pixels, index)
        self._shapes: list[tuple[int, int]] = [tuple(shape) for shape in json.loads(index.read_text())]
        sizes = [3 * height * width for height, width in self._shapes]
        self._offsets = np.concatenate(([0], np.cumsum(sizes)))
        self._pixels = np.memmap(pixels, dtype=np.uint8, mode="r", shape=(int(self._offsets[-1]),))
        self.readable = np.asarray(sizes) > 0
        if unreadable := [name for name, size in zip(file_names, sizes, strict=True) if not size]:
            logger.warning("%d images could not be read, the first is %s", len(unreadable), unreadable[0])

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Image as (H, W, 3) uint8 BGR, a view into the cache."""
        start, stop = self._offsets[index], self._offsets[index + 1]
        return self._pixels[start:stop].reshape(*self._shapes[index], 3)


def _is_current(index: Path, folder: Path, file_names: Sequence[str]) -> bool:
    """Whether no image came or changed after the index was written; images may be gone."""
    if not index.exists():
        return False
    written = index.stat().st_mtime
    paths = (folder / name for name in file_names)
    # Unpacking an archive keeps the old modification times, but not the time of the inode's last change.
    return not any(path.stat().st_ctime >= written for path in paths if path.exists())


def _decode_all(folder: Path, file_names: Sequence[str], pixels: Path, index: Path) -> None:
    shapes: list[tuple[int, int]] = []
    partial = pixels.with_suffix(f".{os.getpid()}.partial")  # two runs may fill the same cache at the same time
    try:
        with partial.open("wb") as file, ThreadPoolExecutor(2) as pool:
            for start in range(0, len(file_names), CHUNK):
                for image in pool.map(lambda name: decode_image(folder / name), file_names[start : start + CHUNK]):
                    shapes.append((image.shape[0], image.shape[1]))
                    file.write(image.tobytes())
        if not any(height * width for height, width in shapes):
            raise DataError(f"none of the {len(shapes)} images could be read from {folder}: give the images' folder")
        index.unlink(missing_ok=True)
        partial.replace(pixels)
    finally:
        partial.unlink(missing_ok=True)
    index.write_text(json.dumps(shapes))  # last: an index is there only if the pixels are


def decode_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 BGR; (0, 0, 3) where it cannot be read.

    Annotations are in px of the stored image, so a camera's note on how to turn it is ignored, as published.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:
        data = np.zeros(0, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    return np.zeros((0, 0, 3), np.uint8) if image is None else np.asarray(image, np.uint8)
