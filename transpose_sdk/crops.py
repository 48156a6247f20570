"""The crop of one person: from a box to the network's input and from heatmap pixels back to the image.

Everything here is the published preprocessing in its DARK flavour: a padded source length of L px holds L - 1 steps and
maps to the S - 1 steps of a side of S px. Pixel centres have whole numbers, in images, crops and heatmaps alike.
A size is always (height, width), a point always (x, y).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.errors import InputError

PIXEL_STD = 200.0  # a scale of 1 is 200 px, COCO's and MPII's habit
PADDING = 1.25
WHOLE = 0.01  # px that an edge may lie beside a pixel's: float32 scales, and less than anybody sees


def check_boxes(boxes: ArrayLike, image_size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Boxes as a float32 array, if they can be cropped.

    Args:
        boxes: Shape (N, 4): x, y, width, height in image px. An empty sequence means no box.
        image_size: (height, width) of the image; with it, a box has to overlap the image.

    Returns:
        Shape (N, 4), float32.

    Raises:
        InputError: Not of shape (N, 4), or a box is not finite, has no area, or lies outside the image.
    """
    try:
        array = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError("the boxes are not numbers: give an (N, 4) array of x, y, width, height in pixels") from None
    if array.size == 0 and array.ndim <= 2:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"the boxes have shape {array.shape}, not (N, 4): give x, y, width, height in pixels for each")
    _refuse(~np.isfinite(array).all(1), array, "is not finite", "give x, y, width, height in pixels")
    _refuse((array[:, 2:] <= 0).any(1), array, "has no area", "give x, y, width, height with both lengths above 0")
    if image_size is not None:
        height, width = image_size
        outside = (array[:, :2] >= (width, height)).any(1) | (array[:, :2] + array[:, 2:] <= 0).any(1)
        _refuse(outside, array, f"lies outside the image of {width} x {height} px", "drop it, or clip it to the image")
    return array


def _refuse(bad: Any, boxes: NDArray[np.float32], fault: str, remedy: str) -> None:
    if bad.any():
        first = int(bad.argmax())
        raise InputError(f"box {first} of {len(boxes)}, {boxes[first].tolist()}, {fault}: {remedy}")


def boxes_to_centers_scales(
    boxes: ArrayLike, input_size: tuple[int, int], padding: float = PADDING
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre and padded size of the crops of some boxes, grown to the aspect of the network's input.

    Args:
        boxes: Shape (N, 4): x, y, width, height in image px.
        input_size: (height, width) of the network's input.
        padding: Factor on the grown box.

    Returns:
        centers: Shape (N, 2), float32, in image px.
        scales: Shape (N, 2), float32, width and height in units of 200 px.

    Raises:
        InputError: See `check_boxes`.
    """
    checked = check_boxes(boxes)
    corners, lengths = checked[:, :2], checked[:, 2:]
    aspect = input_size[1] / input_size[0]
    width = np.maximum(lengths[:, 0], lengths[:, 1] * aspect)
    grown = np.stack((width, width / aspect), axis=1)
    return corners + (lengths - 1) * 0.5, (grown * (padding / PIXEL_STD)).astype(np.float32)


def on_whole_pixels(
    centers: NDArray[np.float32], scales: NDArray[np.float32], input_size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The nearest crops that show whole pixels of the image: `warp_crops` cuts them faster.

    With g the greatest common divisor of the input's sides (64 for 256x192), a step from one px of the crop to the next
    becomes a whole number of g-ths of an image px, and the corner the corner of a pixel. The crop moves by half a
    pixel at most and grows or shrinks by 1 / (2 g) image px for each of its own; the transform stays exact.

    Args:
        centers: Shape (N, 2), in image px.
        scales: Shape (N, 2), in units of 200 px.
        input_size: (height, width) of the network's input.

    Returns:
        centers: Shape (N, 2), float32.
        scales: Shape (N, 2), float32.
    """
    height, width = input_size
    parts = math.gcd(height, width)
    steps = np.maximum(np.rint(_source_widths(scales) / (width - 1) * parts), 1) / parts
    sides = steps[:, None] * (width, height)
    corners = np.rint(centers - (sides - 1) / 2)
    grown = (steps * (width - 1) + 1) / PIXEL_STD
    whole = np.stack((grown, grown * (height / width)), axis=1)
    return (corners + (sides - 1) / 2).astype(np.float32), whole.astype(np.float32)


def crop_affines(
    centers: ArrayLike, scales: ArrayLike, size: tuple[int, int], rotations: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Affine transforms from image px to px of a crop (or of a heatmap: give its size).

    Args:
        centers: Shape (N, 2), in image px.
        scales: Shape (N, 2), in units of 200 px. Only the width counts: the transform keeps angles.
        size: (height, width) of the crop or heatmap.
        rotations: Degrees, shape (N,) or one for all; the crop's up is the image's up turned clockwise by so much.

    Returns:
        Shape (N, 2, 3), float64.
    """
    center, source = np.asarray(centers, np.float64), _source_widths(scales)
    angle = np.radians(np.broadcast_to(np.asarray(rotations, np.float64), source.shape))
    middle = (np.array(size[::-1], np.float64) - 1) / 2
    cos, sin = (size[1] - 1) / source * np.stack((np.cos(angle), np.sin(angle)))
    affines = np.empty((len(center), 2, 3))
    affines[:, 0, 0] = affines[:, 1, 1] = cos
    affines[:, 0, 1], affines[:, 1, 0] = sin, -sin
    affines[:, :, 2] = middle - np.einsum("nij,nj->ni", affines[:, :, :2], center)
    return affines


def _source_widths(scales: ArrayLike) -> NDArray[np.float64]:
    """(N,): steps between the first and the last column of a crop, in image px."""
    # A padded box under 2 px has no steps to scale by; 1 px keeps the transform finite and invertible.
    return np.maximum(np.asarray(scales, np.float64)[:, 0] * PIXEL_STD - 1, 1.0)


def invert_affines(affines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Inverses of affine transforms, shape (..., 2, 3) to (..., 2, 3), float64."""
    linear = np.linalg.inv(np.asarray(affines[..., :2], np.float64))
    return np.concatenate((linear, -(linear @ affines[..., 2:])), axis=-1)


def apply_affine(points: ArrayLike, affine: NDArray[np.floating]) -> NDArray[np.float64]:
    """Transform points.

    Args:
        points: Shape (..., 2), x and y.
        affine: Shape (2, 3) for all points; or (N, 2, 3) with points of shape (N, K, 2), one transform a row.

    Returns:
        Shape of `points`, float64.
    """
    array = np.asarray(points, np.float64)
    return array @ np.swapaxes(affine[..., :2], -1, -2) + (
        affine[..., 2] if affine.ndim == 2 else affine[:, None, :, 2]
    )


def warp_crops(
    image: NDArray[np.uint8],
    affines: NDArray[np.float64],
    input_size: tuple[int, int],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Cut the crops out of the image: bilinear, black outside.

    Crops of whole pixels within the image, see `on_whole_pixels`, are cut faster, and but for their outermost half
    pixel of the image, which has no neighbour then, the same up to rounding.

    Args:
        image: Shape (H, W, 3), uint8; grey and BGRA are converted.
        affines: Shape (N, 2, 3), image px to crop px.
        input_size: (height, width) of a crop.
        out: Shape (N, height, width, 3), uint8, C-contiguous, written in place of a new array.

    Returns:
        Shape (N, height, width, 3), uint8, in the channel order of the image; `out` where it was given.

    Raises:
        InputError: The image or `out` has another shape or type.
    """
    image = to_bgr(image)
    height, width = input_size
    shape = (len(affines), height, width, 3)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise InputError(f"out has shape {out.shape} and type {out.dtype}: give a C-contiguous uint8 array of {shape}")
    for crop, affine, region in zip(out, affines, _whole_regions(affines, input_size, image.shape[:2]), strict=True):
        if region is None:
            cv2.warpAffine(image, affine, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
        else:
            left, top, right, bottom = region
            cv2.resize(image[top:bottom, left:right], (width, height), dst=crop, interpolation=cv2.INTER_LINEAR)
    return out


def _whole_regions(
    affines: NDArray[np.float64], input_size: tuple[int, int], image_size: tuple[int, int]
) -> list[tuple[int, int, int, int] | None]:
    """Left, top, right and bottom of each crop that shows whole pixels of the image and none outside, else None."""
    scale = affines[:, 0, 0]
    sides = np.array(input_size[::-1]) / scale[:, None]
    corners = 0.5 - (affines[:, :, 2] + 0.5) / scale[:, None]
    edges = np.concatenate((corners, corners + sides), axis=1)
    whole = np.rint(edges)
    straight = (affines[:, 0, 1] == 0) & (affines[:, 1, 0] == 0) & (affines[:, 1, 1] == scale) & (scale > 0)
    near = (np.abs(edges - whole) < WHOLE).all(axis=1)
    inside = (whole[:, :2] >= 0).all(axis=1) & (whole[:, 2:] <= image_size[::-1]).all(axis=1)
    fits = straight & near & inside
    return [
        (int(left), int(top), int(right), int(bottom)) if fit else None
        for (left, top, right, bottom), fit in zip(whole, fits, strict=True)
    ]


def heatmap_to_image(
    coords: ArrayLike, centers: ArrayLike, scales: ArrayLike, heatmap_size: tuple[int, int]
) -> NDArray[np.float32]:
    """Decoded coordinates in image px: the inverse of the crop transform on the heatmap's grid.

    Args:
        coords: Shape (N, K, 2), in heatmap px.
        centers: Shape (N, 2), in image px.
        scales: Shape (N, 2), in units of 200 px.
        heatmap_size: (height, width) of a heatmap.

    Returns:
        Shape (N, K, 2), float32, in image px.
    """
    center = np.asarray(centers, np.float64)[:, None]
    middle = (np.array(heatmap_size[::-1], np.float64) - 1) / 2
    step = _source_widths(scales)[:, None, None] / (heatmap_size[1] - 1)
    return (center + (np.asarray(coords, np.float64) - middle) * step).astype(np.float32)
