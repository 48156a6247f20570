"""Drawing: skeletons, boxes, ids, scores and attention on a picture, at any size from thumbnails to 4K."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.checks.ranges import ABOVE_0, FROM_0, check_ranges
from transpose_sdk.drawing.overlay import AttentionOverlay
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.scores import LIKELY
from transpose_sdk.skeletons import Skeleton

Color = tuple[int, int, int]

# cv2 takes coordinates with this many fractional bits; without them a slow limb moves in visible steps.
SHIFT = 4

# BGR. The person's left is cold and their right warm, arms lighter than legs; what has no side is green or white.
PART_COLORS: dict[tuple[str, str], Color] = {
    ("left", "arm"): (255, 200, 60),
    ("left", "leg"): (255, 120, 40),
    ("left", "trunk"): (235, 160, 60),
    ("left", "head"): (255, 220, 150),
    ("right", "arm"): (60, 170, 255),
    ("right", "leg"): (60, 80, 255),
    ("right", "trunk"): (60, 130, 250),
    ("right", "head"): (150, 210, 255),
    ("middle", "arm"): (120, 230, 120),
    ("middle", "leg"): (120, 230, 120),
    ("middle", "trunk"): (120, 230, 120),
    ("middle", "head"): (235, 235, 235),
}

# BGR of boxes and labels; a track keeps its colour. Neighbouring ids are far apart in hue.
TRACK_COLORS: tuple[Color, ...] = (
    (80, 200, 90), (70, 130, 250), (230, 170, 60), (200, 90, 200), (60, 210, 230), (220, 110, 110), (120, 80, 240),
    (190, 200, 70), (90, 160, 160), (250, 140, 190),
)  # fmt: skip
PLAIN_COLOR: Color = (80, 200, 90)
OUTLINE: Color = (24, 24, 24)


@dataclass(frozen=True)
class PoseAnnotator:
    """Draws poses on pictures.

        >>> import cv2, transpose_sdk as tp
        >>> image = cv2.imread("park.jpg")
        >>> picture = tp.PoseAnnotator(labels=False).annotate(image, tp.PoseEstimator()(image))
        >>> cv2.imwrite("poses.png", picture)
        True

    Attributes:
        boxes: Draw the person boxes.
        labels: Write the track id and the person's score over the box.
        min_score: Joints with a lower score are left out, and their limbs with them; by default those that are more
            likely wrong than right.
        scale: Factor on all widths and letters.
        attention: Where one joint was inferred from, drawn beneath the skeletons; needs poses that carry attention.
    """

    boxes: bool = True
    labels: bool = True
    min_score: float = LIKELY
    scale: float = 1.0
    attention: AttentionOverlay | None = None

    def __post_init__(self) -> None:
        check_ranges(self, min_score=FROM_0, scale=ABOVE_0)

    def annotate(self, scene: NDArray[np.uint8], poses: Poses, *, in_place: bool = False) -> NDArray[np.uint8]:
        """Draw every person, those lower in the picture (nearer to the camera) last.

        Args:
            scene: (H, W, 3) uint8, BGR; grey and BGRA are converted.
            poses: Poses in the pixels of the scene.
            in_place: Draw on the scene itself, which must then be contiguous and BGR, and not on a copy.

        Returns:
            (H, W, 3) uint8, BGR: a copy, or the scene itself.

        Raises:
            InputError: The scene is no such array, or attention is to be drawn and the poses don't carry it.
        """
        picture = to_bgr(scene, "the scene")
        if in_place and picture is not scene:
            raise InputError(
                f"cannot draw in place on a scene of shape {scene.shape} and strides {scene.strides}: "
                "give a contiguous (H, W, 3) array, or leave out in_place"
            )
        canvas = scene.copy() if picture is scene and not in_place else picture
        if self.attention is not None:
            self.attention.paint(canvas, poses, self.min_score)
        for person in np.argsort(poses.boxes[:, 1] + poses.boxes[:, 3], kind="stable"):
            track_id = None if poses.track_ids is None else int(poses.track_ids[person])
            color = PLAIN_COLOR if track_id is None else TRACK_COLORS[track_id % len(TRACK_COLORS)]
            box = np.nan_to_num(poses.boxes[person])
            keypoints, scores = poses.keypoints[person], poses.scores[person]
            if _has_left(canvas, box, keypoints[scores >= self.min_score]):
                continue
            width = self._line_width(canvas, box)
            if self.boxes:
                _draw_box(canvas, box, color, max(1, round(0.4 * width)))
            self._draw_skeleton(canvas, keypoints, scores, poses.skeleton, width)
            if self.labels:
                score = f"{poses.person_scores[person]:.2f}"
                texts = (score, score) if track_id is None else (f"#{track_id} {score}", f"#{track_id}")
                _draw_label(canvas, texts, box, color, self.scale)
        if self.attention is not None:
            self.attention.mark(canvas, poses, self.min_score)
        return canvas

    def _line_width(self, canvas: NDArray[np.uint8], box: NDArray[np.float32]) -> float:
        """Width of a limb in px: 1.4 % of the person's height, but visible and never a blob in this picture."""
        short_side = min(canvas.shape[:2])
        size = max(float(box[3]), 1.2 * float(box[2]))
        return self.scale * float(np.clip(0.014 * size, max(1.5, short_side / 500), max(3.0, short_side / 110)))

    def _draw_skeleton(
        self,
        canvas: NDArray[np.uint8],
        keypoints: NDArray[np.float32],
        scores: NDArray[np.float32],
        skeleton: Skeleton,
        width: float,
    ) -> None:
        # Far outside points would overflow cv2's 32-bit fixed-point coordinates.
        limit = 4 * max(canvas.shape[:2])
        seen = (scores >= self.min_score) & np.isfinite(keypoints).all(axis=1) & (np.abs(keypoints) < limit).all(axis=1)
        points = [(int(x), int(y)) for x, y in np.rint(np.where(seen[:, None], keypoints, 0) * (1 << SHIFT))]
        limb_colors, joint_colors = skeleton_colors(skeleton)
        limbs = [
            (a, b, color) for (a, b), color in zip(skeleton.edges, limb_colors, strict=True) if seen[a] and seen[b]
        ]
        thickness = max(1, round(width))
        # An outline would hide the limbs of people of less than 140 px.
        rim = 0 if width < 2 else max(1, round(0.35 * width))
        # All outlines first, so that one limb's outline never cuts another limb.
        for a, b, _ in limbs if rim else ():
            cv2.line(canvas, points[a], points[b], OUTLINE, thickness + 2 * rim, cv2.LINE_AA, SHIFT)
        for a, b, color in limbs:
            cv2.line(canvas, points[a], points[b], color, thickness, cv2.LINE_AA, SHIFT)
        for joint in np.flatnonzero(seen):
            # Eyes, ears and nose stand close together: full circles would hide the face.
            radius = round((0.55 if _part(skeleton.names[joint]) == "head" else 0.85) * width * (1 << SHIFT))
            if rim:
                cv2.circle(canvas, points[joint], radius + (rim << SHIFT), OUTLINE, cv2.FILLED, cv2.LINE_AA, SHIFT)
            cv2.circle(canvas, points[joint], radius, joint_colors[joint], cv2.FILLED, cv2.LINE_AA, SHIFT)


@lru_cache(maxsize=16)
def skeleton_colors(skeleton: Skeleton) -> tuple[tuple[Color, ...], tuple[Color, ...]]:
    """BGR colours of a skeleton's limbs and of its joints, from the side and the body part that their names tell."""
    joints = [(_side(name), _part(name)) for name in skeleton.names]
    limbs = []
    for a, b in skeleton.edges:
        (side_a, part_a), (side_b, part_b) = joints[a], joints[b]
        # The ear belongs to the head and the shoulder to the trunk; a limb takes the outermost part it reaches.
        part = next(part for part in ("arm", "leg", "head", "trunk") if part in (part_a, part_b))
        limbs.append(PART_COLORS[side_a if side_a == side_b else "middle", part])
    return tuple(limbs), tuple(PART_COLORS[joint] for joint in joints)


def _side(name: str) -> str:
    return next((side for side in ("left", "right") if name.startswith(side)), "middle")


def _part(name: str) -> str:
    parts = {"arm": ("elbow", "wrist", "hand"), "leg": ("knee", "ankle", "foot", "toe", "heel")}
    parts["head"] = ("nose", "eye", "ear", "head", "upper_neck")
    return next((part for part, words in parts.items() if any(word in name for word in words)), "trunk")


def _has_left(canvas: NDArray[np.uint8], box: NDArray[np.float32], keypoints: NDArray[np.float32]) -> bool:
    """Whether a box reaches out of the picture and no keypoint, of (n, 2), lies in it: there is nobody to see."""
    size = np.array(canvas.shape[1::-1], np.float32)
    whole = (box[:2] >= 0).all() and (box[:2] + box[2:] <= size).all()
    return not whole and not ((keypoints >= 0) & (keypoints < size)).all(axis=1).any()


def _corners(canvas: NDArray[np.uint8], box: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box in whole px, kept near the picture."""
    height, width = canvas.shape[:2]
    x, y, w, h = (float(value) for value in box)
    left, right = np.clip([x, x + w], -width, 2 * width)
    top, bottom = np.clip([y, y + h], -height, 2 * height)
    return round(left), round(top), round(right), round(bottom)


def _draw_box(canvas: NDArray[np.uint8], box: NDArray[np.float32], color: Color, thickness: int) -> None:
    left, top, right, bottom = _corners(canvas, box)
    cv2.rectangle(canvas, (left, top), (right, bottom), color, thickness)


def _draw_label(
    canvas: NDArray[np.uint8], texts: tuple[str, str], box: NDArray[np.float32], color: Color, scale: float
) -> None:
    """Write the long or the short text on a plate over the box's upper left corner, moved into the picture."""
    height, width = canvas.shape[:2]
    # Below 0.45 cv2's letters run into each other.
    size = scale * float(np.clip(0.7 * min(height, width) / 1080, 0.45, 2.8))
    thickness = max(1, round(1.6 * size))
    text = texts[0]
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    if text_width > 1.2 * box[2]:  # in a crowd of small people wide plates would cover the neighbours
        text = texts[1]
        (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    pad = max(2, round(text_height * 0.3))
    left, top, _, _ = _corners(canvas, box)
    left = int(np.clip(left, 0, max(0, width - text_width - 2 * pad)))
    bottom = int(np.clip(top, min(text_height + 2 * pad, height - 1), height - 1))
    corner = (left + text_width + 2 * pad, bottom - text_height - 2 * pad)
    cv2.rectangle(canvas, (left, bottom), corner, color, cv2.FILLED)
    dark = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] < 140
    ink = (255, 255, 255) if dark else (16, 16, 16)
    cv2.putText(canvas, text, (left + pad, bottom - pad), cv2.FONT_HERSHEY_SIMPLEX, size, ink, thickness, cv2.LINE_AA)
