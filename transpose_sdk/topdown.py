"""Top-down estimation: an image and its people's boxes to poses, with any network that turns crops into heatmaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.backends.protocol import Outputs
from transpose_sdk.crops import (
    PIXEL_STD,
    boxes_to_centers_scales,
    crop_affines,
    heatmap_to_image,
    invert_affines,
    warp_crops,
)
from transpose_sdk.decoding import decode_dark
from transpose_sdk.oks import oks_nms
from transpose_sdk.poses import Poses, person_scores
from transpose_sdk.skeletons import Skeleton

Infer = Callable[[NDArray[np.uint8]], Outputs]


def estimate_poses(
    infer: Infer,
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32],
    input_size: tuple[int, int],
    skeleton: Skeleton,
) -> Poses:
    """One pose a box, in the order of the boxes.

    Args:
        infer: Maps (N, H, W, 3) uint8 BGR crops to the network's outputs.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x, y, width, height in image px, each with an area.
        box_scores: (N,).
        input_size: (height, width) of a crop.
        skeleton: Of the heatmaps.
    """
    if not len(boxes):
        return Poses.empty(skeleton)
    centers, scales = boxes_to_centers_scales(boxes, input_size)
    affines = crop_affines(centers, scales, input_size)
    outputs = infer(warp_crops(image, affines, input_size))
    coords, scores = decode_dark(outputs.heatmaps)
    height, width = outputs.heatmaps.shape[2:]
    return Poses(
        keypoints=heatmap_to_image(coords, centers, scales, (height, width)),
        scores=scores,
        boxes=boxes,
        person_scores=person_scores(scores, box_scores),
        skeleton=skeleton,
        queries=outputs.queries,
        keys=outputs.keys,
        crop_affines=invert_affines(affines).astype(np.float32),
    )


def with_flip_test(infer: Infer, skeleton: Skeleton) -> Infer:
    """Average the heatmaps with the mirrored crop's mirrored heatmaps, pairs swapped, no shift, as published."""

    def infer_twice(crops: NDArray[np.uint8]) -> Outputs:
        mirrored = infer(np.ascontiguousarray(crops[:, :, ::-1])).heatmaps
        outputs = infer(crops)
        return outputs._replace(heatmaps=0.5 * (outputs.heatmaps + mirrored[:, skeleton.mirrored, :, ::-1]))

    return infer_twice


def without_duplicates(poses: Poses, input_size: tuple[int, int]) -> Poses:
    """The poses left by OKS-NMS as published, best first.

    Args:
        poses: All poses of a frame.
        input_size: (height, width) of the network's input: a pose's area is that of its padded box.
    """
    _, scales = boxes_to_centers_scales(poses.boxes, input_size)
    areas = (scales * PIXEL_STD).prod(axis=1)
    return poses[oks_nms(poses.keypoints, poses.person_scores, areas, poses.skeleton)]
