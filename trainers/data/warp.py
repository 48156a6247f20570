"""Crops cut out on the network's device: the loader sends the pixels around each person, the GPU does the arithmetic.

The pixels of a batch lie one behind the other, so that nothing is padded: a region of any size costs its own bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transpose_sdk.crops import apply_affine, invert_affines


class Regions(NamedTuple):
    """Where N crops come from.

    Attributes:
        pixels: (P, 3) uint8 BGR, the regions of the images one behind the other, row by row.
        sizes: (N, 2) int64 height and width of the regions, in px.
        affines: (N, 2, 3) float32, px of the crop to px of its region.
    """

    pixels: Tensor
    sizes: Tensor
    affines: Tensor


def cut_region(
    image: NDArray[np.uint8], affine: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of an image that a crop needs.

    Args:
        image: (H, W, 3) uint8.
        affine: (2, 3), image px to crop px.
        size: (height, width) of the crop.

    Returns:
        The region, a view of the image of at least one pixel, and the transform from crop px to its px, (2, 3).
    """
    inverse = invert_affines(affine)
    right, bottom = size[1] - 1, size[0] - 1
    corners = apply_affine(np.array(((0, 0), (right, 0), (0, bottom), (right, bottom)), np.float64), inverse)
    limit = np.array(image.shape[1::-1])
    # One px more on each side for the neighbours that are interpolated.
    low = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, limit - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, low + 1, limit)
    inverse[:, 2] -= low
    return image[low[1] : high[1], low[0] : high[0]], inverse


def warp_regions(regions: Regions, size: tuple[int, int]) -> Tensor:
    """Crops as `cv2.warpAffine` makes them: bilinear, black outside.

    Args:
        regions: Of N persons, on the device that is to do it.
        size: (height, width) of a crop.

    Returns:
        (N, height, width, 3) uint8 BGR.
    """
    pixels, sizes, affines = regions
    columns = torch.arange(size[1], device=pixels.device, dtype=torch.float32)
    rows = torch.arange(size[0], device=pixels.device, dtype=torch.float32)
    a = affines[:, :, :, None, None]
    x, y = (a[:, axis, 0] * columns + a[:, axis, 1] * rows[:, None] + a[:, axis, 2] for axis in (0, 1))
    left, top = x.floor(), y.floor()
    height, width = sizes[:, 0, None, None], sizes[:, 1, None, None]
    area = sizes.prod(1)
    first = (area.cumsum(0) - area)[:, None, None]
    crops = torch.zeros((*x.shape, 3), device=pixels.device)
    for down in (0, 1):
        for across in (0, 1):
            column, row = (left + across).long(), (top + down).long()
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = torch.where(inside, first + row * width + column, 0)
            crops += torch.where(inside, share, 0)[..., None] * pixels[place]
    return crops.round_().to(torch.uint8)
