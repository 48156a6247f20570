"""Person boxes: around poses, grown, and compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Float
from transpose_sdk.poses import Poses
from transpose_sdk.scores import SCORE_FLOOR

# A person's box is larger than the extent of the keypoints by these shares of it: left and right, top, bottom. Medians
# of 2865 people with 15 or more keypoints.
POSE_MARGINS = (0.14, 0.11, 0.10)


def pose_boxes(poses: Poses) -> Float:
    """Boxes around the confident keypoints with a margin, (N, 4) x, y, width, height in px.

    Where fewer than four keypoints are confident the box is the one that the pose was found in.
    """
    seen = (poses.raw_scores > SCORE_FLOOR)[..., None]
    low = np.where(seen, poses.keypoints, np.inf).min(1, initial=np.inf)
    high = np.where(seen, poses.keypoints, -np.inf).max(1, initial=-np.inf)
    enough = (seen.sum(1) >= 4) & ((high - low) >= 2).all(1, keepdims=True)
    width, height = (np.where(enough, high - low, 0)).T
    side, top, bottom = POSE_MARGINS
    grown = np.stack(
        (low[:, 0] - side * width, low[:, 1] - top * height, (1 + 2 * side) * width, (1 + top + bottom) * height), 1
    )
    return np.where(enough, grown, poses.boxes).astype(np.float32)


def touching(boxes: NDArray[np.floating], sizes: NDArray[np.integer] | tuple[int, int]) -> NDArray[np.bool_]:
    """Shape (N,): which boxes (N, 4) x, y, width, height hold some of an image, or each of its own; none with NaN does.

    `sizes` are (width, height) in px, one or N of them.
    """
    far = boxes[:, :2] + boxes[:, 2:]
    return np.asarray(((boxes[:, :2] < sizes) & (far > 0) & np.isfinite(far)).all(axis=1))


def box_iou(boxes: Float, others: Float) -> Float:
    """Intersection over union, (N, 4) and (M, 4) x, y, width, height to (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (others[:, :2] + others[:, 2:])[None])
    shared = np.maximum(high - low, 0).prod(2)
    union = boxes[:, 2:].prod(1)[:, None] + others[:, 2:].prod(1)[None] - shared
    return (shared / np.maximum(union, 1e-9)).astype(np.float32)


def grown_boxes(boxes: Float, share: float) -> Float:
    """Boxes (N, 4) x, y, width, height, larger by a share of their size on every side."""
    return np.concatenate((boxes[:, :2] - share * boxes[:, 2:], (1 + 2 * share) * boxes[:, 2:]), axis=1)
