"""Training images, decoded once into one file of raw pixels that every later run maps into memory.

Decoding costs 2-4 ms an image, a warp from decoded pixels 0.1 ms: without the cache a small network waits for its data.
Where the disk is too small for the pixels (COCO train2017 takes 52 GB), images are decoded whenever they are needed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Image
from transpose_sdk.disk.whole_file import whole_file
from transpose_sdk.errors import DataError
from transpose_sdk.media.image_file import read_annotated, size_warning

logger = logging.getLogger(__name__)

Stated = Sequence[tuple[int, int] | None]

CHUNK = 256  # images decoded ahead of the disk, so that a slow disk does not fill the memory
LARGEST_SHARE = 0.8  # of the free disk that a cache may take


def open_images(
    folder: Path, file_names: Sequence[str], cache_folder: Path, stated: Stated = ()
) -> ImageCache | ImageFolder:
    """The images of a training set, from the cache or, where that does not fit the disk, from their files.

    Args:
        folder: The images' folder.
        file_names: Paths relative to `folder`.
        cache_folder: Where the cache is kept.
        stated: (height, width) of each image in px as the annotations state it, which tells whether they were made on
            the picture upright or as it is stored (see `read_annotated`); empty where none is known.

    Raises:
        DataError: No image could be decoded, or the cache's folder cannot be written.
    """
    stated = stated or [None] * len(file_names)
    try:
        try:
            images: ImageCache | ImageFolder = ImageCache(folder, file_names, cache_folder, stated)
        except _NoRoomError as error:
            logger.info("%s: images are decoded when they are needed, which takes more CPU", error)
            images = ImageFolder(folder, file_names, cache_folder, stated)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded images in {cache_folder} ({error.strerror or error}): give a folder that can be "
            "written by --cache (cache=)"
        ) from error
    for name, size, found in zip(file_names, stated, images.sizes.tolist(), strict=True):
        if size is not None and all(found) and tuple(found) != size:
            logger.warning("%s", size_warning(name, size, tuple(found)))
            break
    return images


class _NoRoomError(Exception):
    """The decoded pixels would fill the disk."""


class ImageCache:
    """Read-only access to decoded images by index; safe to share with forked workers.

    Args:
        folder: The images' folder.
        file_names: Paths relative to `folder`.
        cache_folder: Where the decoded pixels are kept (3 bytes a pixel of the whole set).
        stated: As of `open_images`.

    Attributes:
        sizes: (number of images, 2) height and width; 0 where an image could not be decoded.
        readable: (number of images,) bool; an image that could not be decoded is empty, (0, 0, 3).

    Raises:
        DataError: No image could be decoded.
    """

    def __init__(self, folder: Path, file_names: Sequence[str], cache_folder: Path, stated: Stated = ()) -> None:
        stated = stated or [None] * len(file_names)
        index = _index_file(folder, file_names, cache_folder, stated)
        pixels = index.with_suffix(".bin")
        if not (pixels.exists() and _is_current(index, folder, file_names)):
            cache_folder.mkdir(parents=True, exist_ok=True)
            _decode_all(folder, file_names, pixels, index, stated)
        self.sizes = _read_sizes(index)
        self.readable = _readable(self.sizes, file_names)
        self._offsets = np.concatenate(([0], np.cumsum(3 * self.sizes.prod(axis=1))))
        self._pixels = np.memmap(pixels, dtype=np.uint8, mode="r", shape=(int(self._offsets[-1]),))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Image as (H, W, 3) uint8 BGR, a view into the cache."""
        start, stop = self._offsets[index], self._offsets[index + 1]
        return self._pixels[start:stop].reshape(*self.sizes[index], 3)


class ImageFolder:
    """The same access to images that are decoded anew each time; every one is tried once, before training.

    Args:
        folder: The images' folder.
        file_names: Paths relative to `folder`.
        cache_folder: Where the sizes of the images are kept.
        stated: As of `open_images`.

    Attributes:
        sizes: As of `ImageCache`.
        readable: As of `ImageCache`.

    Raises:
        DataError: No image could be decoded.
    """

    def __init__(self, folder: Path, file_names: Sequence[str], cache_folder: Path, stated: Stated = ()) -> None:
        stated = stated or [None] * len(file_names)
        self._paths = [folder / name for name in file_names]
        self._stated = stated
        index = _index_file(folder, file_names, cache_folder, stated).with_suffix(".sizes.json")
        if not _is_current(index, folder, file_names):
            cache_folder.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                shapes = list(pool.map(lambda path, size: decode_image(path, size).shape[:2], self._paths, stated))
            _check_any(shapes, folder)
            _write_sizes(index, shapes)
        self.sizes = _read_sizes(index)
        self.readable = _readable(self.sizes, file_names)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Image as (H, W, 3) uint8 BGR.

        Raises:
            DataError: It could be read when the run started, and now it cannot.
        """
        image = decode_image(self._paths[index], self._stated[index])
        if not image.size:
            raise DataError(f"{self._paths[index]} was there when the run started: bring it back, and go on")
        return image


def _index_file(folder: Path, file_names: Sequence[str], cache_folder: Path, stated: Stated) -> Path:
    facts = [str(folder.resolve()), *file_names, *map(str, stated)]
    digest = hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_folder / f"images-{digest}.json"


def _write_sizes(index: Path, shapes: Sequence[tuple[int, ...]]) -> None:
    with whole_file(index) as unfinished:
        unfinished.write_text(json.dumps(shapes))


def _read_sizes(index: Path) -> NDArray[np.int64]:
    return np.array(json.loads(index.read_text()), np.int64).reshape(-1, 2)


def _readable(sizes: NDArray[np.int64], file_names: Sequence[str]) -> NDArray[np.bool_]:
    readable = sizes.prod(axis=1) > 0
    if not readable.all():
        first = file_names[int(np.argmin(readable))]
        logger.warning("%d images could not be read, the first is %s", (~readable).sum(), first)
    return readable


def _check_any(shapes: Sequence[tuple[int, ...]], folder: Path) -> None:
    if not any(height * width for height, width in shapes):
        raise DataError(f"none of the {len(shapes)} images could be read from {folder}: give the images' folder")


def _is_current(index: Path, folder: Path, file_names: Sequence[str]) -> bool:
    """Whether no image came or changed after the index was written; images may be gone."""
    if not index.exists():
        return False
    written = index.stat().st_mtime
    paths = (folder / name for name in file_names)
    # Unpacking an archive keeps the old modification times, but not the time of the inode's last change.
    return not any(path.stat().st_ctime >= written for path in paths if path.exists())


def _decode_all(folder: Path, file_names: Sequence[str], pixels: Path, index: Path, stated: Stated) -> None:
    shapes: list[tuple[int, int]] = []
    with whole_file(pixels) as unfinished:  # two runs may fill the same cache at the same time
        with unfinished.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(file_names), CHUNK):
                part = slice(start, start + CHUNK)
                read = pool.map(lambda name, size: decode_image(folder / name, size), file_names[part], stated[part])
                for image in read:
                    shapes.append((image.shape[0], image.shape[1]))
                    file.write(image.tobytes())
                needed = file.tell() * len(file_names) / len(shapes) - file.tell()
                if needed > LARGEST_SHARE * shutil.disk_usage(pixels.parent).free:
                    raise _NoRoomError(f"decoded images would take {needed / 1e9:.0f} GB more in {pixels.parent}")
        _check_any(shapes, folder)
        index.unlink(missing_ok=True)
    _write_sizes(index, shapes)  # last: an index is there only if the pixels are


def decode_image(path: Path, size: tuple[int, int] | None = None) -> Image:
    """Read an image of a stated (height, width) as (H, W, 3) uint8 BGR; (0, 0, 3) where it cannot be read."""
    try:
        return read_annotated(path, size)
    except DataError:
        return np.zeros((0, 0, 3), np.uint8)
