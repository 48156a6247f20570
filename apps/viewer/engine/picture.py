"""A frame as it is shown: glow, skeletons, labels and the star of the joint that is followed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.dependency import DependencyArea
from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.drawing.overlay import draw_star, paint_area
from transpose_sdk.errors import TransposeError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.poses import Poses
from transpose_sdk.stream import Frame

from .following import Following
from .glow import glow
from .settings import Look


@dataclass(frozen=True, eq=False)
class Picture:
    """What `paint` gives.

    Attributes:
        image: (H, W, 3) uint8 BGR, contiguous.
        scale: Its px for one px of the frame.
        person: Index of the person who is followed, None if nobody is or they are not on the frame.
        problem: Why there is no glow though one was asked for.
    """

    image: NDArray[np.uint8]
    scale: float
    person: int | None
    problem: str | None


def paint(
    frame: Frame, estimator: PoseEstimator, following: Following | None, look: Look, size: tuple[int, int] | None = None
) -> Picture:
    """Draw a frame.

    Args:
        frame: The frame and its poses.
        estimator: The one that made them.
        following: The joint to explain.
        look: What to draw.
        size: (width, height) in px to fit it into; None keeps its own.
    """
    scale = 1.0 if size is None else min(size[0] / frame.image.shape[1], size[1] / frame.image.shape[0])
    canvas, poses = _scaled(frame.image, scale), _scaled_poses(frame.poses, scale)
    person = None if following is None else following.person(frame.poses)
    problem = None
    if following is not None and person is not None:
        try:
            glowing = glow(estimator, frame, person, following.keypoint, look.mode, look.threshold)
            if glowing is not None:
                paint_area(canvas, _scaled_area(glowing[0], scale), glowing[1], look.opacity)
        except TransposeError as error:
            problem = str(error)
    if look.skeletons or look.boxes:
        annotator = PoseAnnotator(look.boxes, look.boxes, look.min_score if look.skeletons else np.inf)
        annotator.annotate(canvas, poses, in_place=True)
    if following is not None and person is not None:
        radius = float(np.clip(0.03 * poses.boxes[person, 3], 7, min(canvas.shape[:2]) / 30))
        draw_star(canvas, np.nan_to_num(poses.keypoints[person, following.keypoint]), radius)
    return Picture(canvas, scale, person, problem)


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """A copy of another size."""
    if scale == 1:
        return np.ascontiguousarray(image).copy()
    width, height = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


# Whole coordinates are pixel centres, so that px x of the frame lies at scale * x + (scale - 1) / 2.
def _scaled_poses(poses: Poses, scale: float) -> Poses:
    shift = np.float32((scale - 1) / 2)
    boxes = poses.boxes * np.float32(scale)
    boxes[:, :2] += shift
    return replace(poses, keypoints=poses.keypoints * np.float32(scale) + shift, boxes=boxes)


def _scaled_area(area: DependencyArea, scale: float) -> DependencyArea:
    transform = area.transform * scale
    transform[:, 2] += (scale - 1) / 2
    return replace(area, transform=transform)
