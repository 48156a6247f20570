"""What lights up over a person: the attention of a joint, or the network's heatmap of it, as a grid over the image."""

from __future__ import annotations

import numpy as np

from transpose_sdk.attention import cell_transform, joint_cells
from transpose_sdk.crops import invert_affines
from transpose_sdk.dependency import DependencyArea, Threshold
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.stream import Frame
from transpose_sdk.topdown import place

from .settings import GlowMode

# Of a heatmap, whose noise far from the joint is a few percent of the maximum.
HEATMAP_FLOOR = 0.1


def glow(
    estimator: PoseEstimator, frame: Frame, person: int, keypoint: int, mode: GlowMode, threshold: Threshold
) -> tuple[DependencyArea, Threshold] | None:
    """The grid to draw, and from which value on; None where the mode is "off".

    Args:
        estimator: The one that made the frame's poses.
        frame: A frame with poses.
        person: Index into them.
        keypoint: Index of the joint.
        mode: One of settings.MODES.
        threshold: The smallest attention to draw; heatmaps have their own.

    Raises:
        InputError: The bundle gives no attention.
        BackendError: The device failed on the heatmap.
    """
    if mode == "off":
        return None
    if mode == "heatmap":
        return heatmap_area(estimator, frame, person, keypoint), Threshold(HEATMAP_FLOOR)
    return estimator.attention(frame.image, frame.poses, person, keypoint, mode), threshold


def heatmap_area(estimator: PoseEstimator, frame: Frame, person: int, keypoint: int) -> DependencyArea:
    """A joint's heatmap over the image, its maximum scaled to 1.

    Poses don't carry heatmaps (0.2 MB a person), so the person's crop is inferred once more.

    Raises:
        BackendError: The device failed.
    """
    poses, input_size = frame.poses[person], estimator.bundle.input_size
    people = place(poses.boxes, None, input_size)
    heatmap = np.maximum(estimator.backend.infer(people.cut(frame.image)).heatmaps[0, keypoint], 0)
    size = (heatmap.shape[0], heatmap.shape[1])
    transform = cell_transform(invert_affines(people.affines)[0], size, input_size)
    location = joint_cells(poses.keypoints[0, [keypoint]], transform, size, input_size)[0]
    grid = heatmap / max(float(heatmap.max()), 1e-6)
    return DependencyArea(grid, transform, poses.skeleton.names[keypoint], (int(location[0]), int(location[1])))
