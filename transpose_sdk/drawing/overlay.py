"""Attention drawn over a picture: the cells that count, as a glow that is strongest where most attention lies.

Only pixels at cells that count are touched, in one pass: under 1 ms for a person of a 1080x1920 frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.ranges import FROM_0, SHARE, check_ranges
from transpose_sdk.compiled import compiled
from transpose_sdk.dependency import MODES, AttentionMode, DependencyArea, Threshold, attention_areas
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses

# Between those published for TP-R-A4 and TP-H-A4, which are 7.7 and 2.3 times uniform.
DEFAULT_THRESHOLD = Threshold(3.0, relative=True)
# A bilinear glow of cells of 30 px shows their lattice; cubic interpolation to this many steps a cell first does not.
STEPS = 4
# Strength of a cell that just counts: one that counts is to be seen.
LEAST_STRENGTH = 0.04
# The first colours of the map are black, which on a picture reads as shadow, not as little attention.
FIRST_COLOR = 70
SHIFT = 4
TURNS = np.pi * (np.arange(10) / 5 - 0.5)
STAR = np.stack((np.cos(TURNS), np.sin(TURNS)), axis=1) * np.where(np.arange(10) % 2, 0.45, 1.0)[:, None]


@dataclass(frozen=True)
class AttentionOverlay:
    """Draws where one joint of each person was inferred from, by a `PoseAnnotator` and beneath its skeletons.

        >>> import cv2, transpose_sdk as tp
        >>> image = cv2.imread("park.jpg")
        >>> poses = tp.PoseEstimator(attention=True)(image)
        >>> annotator = tp.PoseAnnotator(attention=tp.AttentionOverlay("left_ankle"))
        >>> cv2.imwrite("attention.png", annotator.annotate(image, poses))
        True

    Attributes:
        keypoint: Name or index of the joint.
        mode: "dependency" (what the joint looked at) or "affected" (what looked at the joint).
        threshold: The smallest attention that is drawn.
        opacity: Of the strongest cell, 0..1.
    """

    keypoint: str | int
    mode: AttentionMode = "dependency"
    threshold: Threshold = DEFAULT_THRESHOLD
    opacity: float = 0.75

    def __post_init__(self) -> None:
        check_ranges(self, opacity=SHARE)
        if self.mode not in MODES:
            raise InputError(f"AttentionOverlay: mode={self.mode!r}; give one of {', '.join(MODES)}")
        if not isinstance(self.threshold, Threshold) or self.threshold.value not in FROM_0:
            raise InputError(f"AttentionOverlay: threshold={self.threshold!r}; give Threshold(a number from 0 on)")

    def paint(self, canvas: NDArray[np.uint8], poses: Poses, min_score: float) -> None:
        """Draw the areas of the people whose joint has at least this score, in place.

        Raises:
            InputError: There is no such joint, or the poses carry no attention.
        """
        for person in self._people(poses, min_score):
            area = attention_areas(poses, person, [self.keypoint], self.mode)[0]
            paint_area(canvas, area, self.threshold, self.opacity)

    def mark(self, canvas: NDArray[np.uint8], poses: Poses, min_score: float) -> None:
        """Draw a star at the joint of each of these people, in place."""
        joint = poses.skeleton.index(self.keypoint)
        for person in self._people(poses, min_score):
            height = float(np.nan_to_num(poses.boxes[person, 3]))
            radius = float(np.clip(0.022 * height, 5, max(5, min(canvas.shape[:2]) / 45)))
            draw_star(canvas, poses.keypoints[person, joint], radius)

    def _people(self, poses: Poses, min_score: float) -> list[int]:
        joint = poses.skeleton.index(self.keypoint)
        seen = (poses.scores[:, joint] >= min_score) & np.isfinite(poses.keypoints[:, joint]).all(axis=1)
        return np.flatnonzero(seen).tolist()


def paint_area(
    canvas: NDArray[np.uint8], area: DependencyArea, threshold: Threshold = DEFAULT_THRESHOLD, opacity: float = 0.75
) -> None:
    """Blend an area into a picture, in place.

    Args:
        canvas: (H, W, 3) uint8 BGR, in the pixels that the area's transform leads to.
        area: What to draw. The colours span its own attention, from the threshold to its largest value.
        threshold: The smallest attention that is drawn.
        opacity: Of the strongest cell, 0..1.

    Raises:
        InputError: The area's transform turns, which those of an estimator's poses never do.
    """
    if np.abs(area.transform[[0, 1], [1, 0]]).max() > 1e-6:
        raise InputError(f"an area turned by {area.transform.tolist()} cannot be drawn: give one of unturned crops")
    scale = area.transform[[0, 1], [0, 1]]
    # Step i of the refined grid, which has one more step around it, lies at cell (i - 0.5) / STEPS - 0.5.
    origin = area.transform[:, 2] - scale * (0.5 + 0.5 / STEPS)
    _blend(canvas, _steps(area, threshold), origin, scale / STEPS, *_packed_palette(round(256 * opacity)))


def draw_star(canvas: NDArray[np.uint8], center: NDArray[np.floating], radius: float) -> None:
    """Draw a white star with a dark rim, in place.

    Args:
        canvas: (H, W, 3) uint8 BGR.
        center: (2,), x and y in px.
        radius: Of its points, in px.
    """
    if not (np.abs(center) < 4 * max(canvas.shape)).all():  # cv2's fixed-point coordinates would overflow
        return
    for size, color in ((1.35 * radius, (24, 24, 24)), (radius, (255, 255, 255))):
        corners = np.rint((center + size * STAR) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(canvas, [corners], color, cv2.LINE_AA, SHIFT)


def warm_up() -> None:
    """Compile the blending, so that the first frame need not wait for it."""
    paint_area(np.zeros((1, 1, 3), np.uint8), DependencyArea(np.ones((1, 1), np.float32), np.eye(2, 3), "", (0, 0)))


@lru_cache(maxsize=4)
def palette(opacity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The glow for strengths 0..255 at an opacity of 0..256: BGR times opacity, (256, 3), and what it leaves, (256,).

    Both in 1/256, so that a pixel becomes (glow + left * pixel) / 256.
    """
    strengths = np.arange(256)
    shown = FIRST_COLOR + strengths * (255 - FIRST_COLOR) // 255
    colors = cv2.applyColorMap(shown.astype(np.uint8)[None], cv2.COLORMAP_INFERNO)[0].astype(np.int32)
    # Square root: what counts little must still be seen.
    alphas = np.rint(opacity * np.sqrt(strengths / 255)).astype(np.int32)
    return colors * alphas[:, None], 256 - alphas


def _steps(area: DependencyArea, threshold: Threshold) -> NDArray[np.float32]:
    """Strength, 0 where an area doesn't count to 255 at its maximum, STEPS a cell and axis, with zeros around."""
    height, width = area.grid.shape
    counted = area.threshold(*threshold)
    lowest = float(area.grid[counted].min(initial=area.grid.max()))
    above = (area.grid - lowest) / max(float(area.grid.max()) - lowest, 1e-12)
    if lowest == area.grid.max():  # even attention
        above = np.ones_like(area.grid)
    strength = np.where(counted, LEAST_STRENGTH + (1 - LEAST_STRENGTH) * above, 0).astype(np.float32)
    fine = cv2.resize(strength, (STEPS * width, STEPS * height), interpolation=cv2.INTER_CUBIC)
    steps = np.zeros((2 + STEPS * height, 2 + STEPS * width), np.float32)
    steps[1:-1, 1:-1] = np.clip(255 * fine, 0, 255)
    return steps


@lru_cache(maxsize=4)
def _packed_palette(opacity: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The palette with a colour in one number, 16 bits a channel, and what it leaves, both (256,)."""
    colors, left = palette(opacity)
    packed = colors.astype(np.uint64) << np.array([0, 16, 32], np.uint64)
    return packed.sum(axis=1, dtype=np.uint64), left.astype(np.uint64)


@compiled(error_model="numpy")
def _blend(
    canvas: NDArray[np.uint8],
    steps: NDArray[np.float32],
    origin: NDArray[np.float64],
    size: NDArray[np.float64],
    glow: NDArray[np.uint64],
    left: NDArray[np.uint64],
) -> None:
    """Blend a glow into a picture, in place.

    The three channels of a pixel are blended as one number: none exceeds 255 * 256, and so none reaches the next.
    That, whole-number strengths and unsigned indices make it faster than a plain loop.

    Args:
        canvas: (H, W, 3) uint8.
        steps: (rows, columns), strengths 0..255, interpolated bilinearly.
        origin: (2,), x and y in px of the first step.
        size: (2,), px between two steps.
        glow: (256,), see `_packed_palette`.
        left: (256,), see `_packed_palette`.
    """
    height, width = canvas.shape[:2]
    rows, columns = steps.shape
    edges = np.empty(columns, np.uint32)  # the first px at or behind each column of steps
    for column in range(columns):
        edges[column] = max(0, min(width, math.ceil(origin[0] + size[0] * column)))
    level = np.empty(columns, np.float32)
    one = np.float32(65536)  # of a fixed-point strength
    for y in range(max(0, math.ceil(origin[1])), min(height, math.ceil(origin[1] + size[1] * (rows - 1)))):
        line = canvas[np.uint32(y)]
        down = (y - origin[1]) / size[1]
        row = min(int(down), rows - 2)
        upper, lower, share = steps[row], steps[row + 1], np.float32(down - row)
        for column in range(columns):
            level[column] = upper[column] + (lower[column] - upper[column]) * share
        for column in range(columns - 1):
            first, last = level[column], level[column + 1]
            if first < 1 and last < 1:
                continue
            begin = edges[column]
            slope = (last - first) / np.float32(size[0])
            strength = np.int32(one * (first + slope * np.float32(begin - (origin[0] + size[0] * column))))
            rise = np.int32(one * slope)
            for x in range(begin, edges[column + 1]):
                place = np.uint8(max(strength, np.int32(0)) >> 16)
                pixel = np.uint64(line[x, 0]) | np.uint64(line[x, 1]) << np.uint64(16)
                pixel |= np.uint64(line[x, 2]) << np.uint64(32)
                pixel = glow[place] + left[place] * pixel
                line[x, 0] = np.uint8(pixel >> np.uint64(8))
                line[x, 1] = np.uint8(pixel >> np.uint64(24))
                line[x, 2] = np.uint8(pixel >> np.uint64(40))
                strength += rise
