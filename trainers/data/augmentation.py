"""The published augmentation of one person: half body, scale, rotation, mirror, in this order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.crops import PIXEL_STD, boxes_to_centers_scales
from transpose_sdk.skeletons import Skeleton

from ..recipe import Recipe

HALF_BODY_PADDING = 1.5


class View(NamedTuple):
    """How a person is cut out of the image.

    Attributes:
        center: (2,) in image px.
        scale: (2,) width and height in units of 200 px.
        rotation: Degrees.
        mirrored: Whether the crop is mirrored after the warp.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    rotation: float
    mirrored: bool


def plain_view(box: NDArray[np.float32], input_size: tuple[int, int]) -> View:
    """The view used in evaluation.

    Args:
        box: (4,) x, y, width, height in image px.
        input_size: (height, width) of the crop.
    """
    centers, scales = boxes_to_centers_scales(box[None], input_size)
    return View(centers[0], scales[0], 0.0, False)


def random_view(
    box: NDArray[np.float32],
    joints: NDArray[np.float32],
    weights: NDArray[np.float32],
    skeleton: Skeleton,
    recipe: Recipe,
    rng: np.random.Generator,
) -> View:
    """Draw a view as the published training does.

    Args:
        box: (4,) x, y, width, height in image px.
        joints: (K, 2) in image px.
        weights: (K,), 0 for unknown joints.
        skeleton: Tells the upper body.
        recipe: Holds the probabilities and ranges.
        rng: Source of randomness.
    """
    center, scale, _, _ = plain_view(box, recipe.input_size)
    known = weights > 0
    if known.sum() > 8 and rng.random() < recipe.half_body:
        half = _half_body(joints, known, skeleton, recipe.input_size, rng)
        center, scale = half if half is not None else (center, scale)
    factor = np.clip(rng.standard_normal() * recipe.scale + 1, 1 - recipe.scale, 1 + recipe.scale)
    angle = np.clip(rng.standard_normal() * recipe.rotation, -2 * recipe.rotation, 2 * recipe.rotation)
    rotation = float(angle) if rng.random() <= recipe.rotation_probability else 0.0
    return View(center, scale * np.float32(factor), rotation, bool(rng.random() <= recipe.flip))


def _half_body(
    joints: NDArray[np.float32],
    known: NDArray[np.bool_],
    skeleton: Skeleton,
    input_size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Centre and scale of the upper or the lower half of the body, None where too few joints are known."""
    is_upper = np.isin(np.arange(len(joints)), skeleton.upper_body)
    upper, lower = joints[known & is_upper], joints[known & ~is_upper]
    # The published condition: the upper half is taken if randn() < .5, so with p = .69, and if it has over 2 joints.
    chosen = upper if rng.standard_normal() < 0.5 and len(upper) > 2 else (lower if len(lower) > 2 else upper)
    if len(chosen) < 2:
        return None
    size = chosen.max(0) - chosen.min(0) + 1  # joints are pixels, and their box holds both ends
    aspect = input_size[1] / input_size[0]
    width = max(size[0], size[1] * aspect)
    scale = np.array((width, width / aspect), np.float32) * (HALF_BODY_PADDING / PIXEL_STD)
    return chosen.mean(0), scale
