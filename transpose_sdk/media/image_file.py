"""An image file as an array."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from transpose_sdk.arrays import Image
from transpose_sdk.checks.small_file import read_small
from transpose_sdk.errors import DataError, SourceError
from transpose_sdk.media.image_size import image_size
from transpose_sdk.media.quiet import quiet_opencv

logger = logging.getLogger(__name__)

LARGEST_FILE = 1 << 30  # bytes
LARGEST_PIXELS = 200_000_000  # 600 MB in memory, twice what the largest cameras take

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def read_image(path: Path, *, upright: bool = True) -> Image:
    """Read an image file as (H, W, 3) uint8 BGR.

    Args:
        path: The file.
        upright: Whether the image is turned as its EXIF data says.

    Raises:
        SourceError: The file cannot be read or decoded.
    """
    try:
        content = read_small(path, LARGEST_FILE)  # unlike cv2.imread, any file name works on Windows
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot read {path} ({reason}): check the path and its permission") from error
    size, data = image_size(content), np.frombuffer(content, np.uint8)
    if size is not None and size[0] * size[1] > LARGEST_PIXELS:
        raise SourceError(
            f"{path} claims {size[1]}x{size[0]} px, more than the {LARGEST_PIXELS // 10**6} million that are read: "
            "scale it down"
        )
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = None
    # OpenCV raises for a header that claims more pixels than it will hold.
    with quiet_opencv(), suppress(cv2.error):
        image = cv2.imdecode(data, flags) if size is not None else None
    if image is None:
        raise SourceError(
            f"{path} ({data.size} bytes) cannot be decoded: expected an image such as .jpg or .png; check that it is "
            "complete"
        )
    return np.asarray(image, np.uint8)


def read_annotated(path: Path, size: tuple[int, int] | None = None) -> Image:
    """Read an image of a data set as (H, W, 3) uint8 BGR, as those saw it who annotated it.

    That is upright, as tools for annotating and players show it. Where the annotations state a size that only the
    picture as it is stored has, it was annotated without a look at the camera's note on how to turn it, as COCO's was.

    Args:
        path: The file.
        size: (height, width) in px as the annotations state it.

    Raises:
        DataError: The file cannot be read or decoded.
    """
    try:
        image = read_image(path)
        if size is not None and image.shape[:2] == size[::-1] != size:
            stored = read_image(path, upright=False)
            return stored if stored.shape[:2] == size else image
    except SourceError as error:
        raise DataError(f"cannot read the image {path}: check the images' folder ({error})") from None
    return image


class AnnotatedImages:
    """Reads the images of a data set by file name; the first one of another size than is stated is told in the log.

    Args:
        folder: Where they lie.
        sizes: (height, width) in px by file name, as the annotations state them.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._folder = folder
        self._sizes = sizes
        self._told = False

    def __call__(self, name: str) -> Image:
        """Read one; errors as of `read_annotated`."""
        size = self._sizes.get(name)
        image = read_annotated(self._folder / name, size)
        if size is not None and image.shape[:2] != size and not self._told:
            self._told = True
            logger.warning("%s", size_warning(name, size, (image.shape[0], image.shape[1])))
        return image


def size_warning(name: str, stated: tuple[int, int], found: tuple[int, int]) -> str:
    """What is said of an image that has another (height, width) than its annotations state."""
    return (
        f"{name} has {found[1]}x{found[0]} px, but its annotations were made on {stated[1]}x{stated[0]}: joints lie "
        "elsewhere if it was scaled or turned since (said of the first such image)"
    )
