"""An image file as an array."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from transpose_sdk.arrays import Image
from transpose_sdk.errors import DataError, SourceError
from transpose_sdk.media.quiet import quiet_opencv

IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read_image(path: Path, *, upright: bool = True) -> Image:
    """Read an image file as (H, W, 3) uint8 BGR.

    Args:
        path: The file.
        upright: Whether the image is turned as its EXIF data says.

    Raises:
        SourceError: The file cannot be read or decoded.
    """
    try:
        data = np.fromfile(path, np.uint8)  # unlike cv2.imread, any file name works on Windows
    except OSError as error:
        raise SourceError(
            f"cannot read {path} ({error.strerror or error}): check the path and its permission"
        ) from error
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = None
    # OpenCV raises for a header that claims more pixels than it will hold.
    with quiet_opencv(), suppress(cv2.error):
        image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise SourceError(
            f"{path} ({data.size} bytes) cannot be decoded: expected an image such as .jpg or .png; check that it is "
            "complete"
        )
    return np.asarray(image, np.uint8)


def read_annotated(path: Path) -> Image:
    """Read an image of a data set as (H, W, 3) uint8 BGR, as stored.

    Annotations are in px of the stored image, so a camera's note on how to turn it is ignored, as published.

    Raises:
        DataError: The file cannot be read or decoded.
    """
    try:
        return read_image(path, upright=False)
    except SourceError as error:
        raise DataError(f"cannot read the image {path}: check the images' folder ({error})") from None
