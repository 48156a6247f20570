"""Top-down estimation: people's boxes to crops, the network's answers to poses.

The two halves are apart, so that a stream can prepare the next frame while the network works on this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.backends.protocol import Outputs
from transpose_sdk.crops import (
    PIXEL_STD,
    boxes_to_centers_scales,
    crop_affines,
    heatmap_to_image,
    invert_affines,
    on_whole_pixels,
    warp_crops,
)
from transpose_sdk.decoding import decode_dark
from transpose_sdk.oks import oks_nms
from transpose_sdk.poses import Poses, person_scores
from transpose_sdk.skeletons import Skeleton


@dataclass(frozen=True, eq=False)
class People:
    """Whom to pose in a frame, and how they are cut out of it; made by `place`.

    Attributes:
        boxes: (N, 4) x, y, width, height in image px.
        box_scores: (N,).
        centers: (N, 2) of the crops, in image px.
        scales: (N, 2) of the crops, in units of 200 px.
        affines: (N, 2, 3), image px to crop px.
        input_size: (height, width) of a crop.
    """

    boxes: NDArray[np.float32]
    box_scores: NDArray[np.float32]
    centers: NDArray[np.float32]
    scales: NDArray[np.float32]
    affines: NDArray[np.float64]
    input_size: tuple[int, int]

    def cut(self, image: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Their crops, (N, H, W, 3) uint8 BGR, written into `out` where it is given."""
        return warp_crops(image, self.affines, self.input_size, out)

    def poses(self, outputs: Outputs, skeleton: Skeleton) -> Poses:
        """Decode the network's answer: one pose a box, in the order of the boxes."""
        coords, scores = decode_dark(outputs.heatmaps)
        height, width = outputs.heatmaps.shape[2:]
        return Poses(
            keypoints=heatmap_to_image(coords, self.centers, self.scales, (height, width)),
            scores=scores,
            boxes=self.boxes,
            person_scores=person_scores(scores, self.box_scores),
            skeleton=skeleton,
            queries=outputs.queries,
            keys=outputs.keys,
            crop_affines=invert_affines(self.affines).astype(np.float32),
        )


def place(
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32],
    input_size: tuple[int, int],
    whole_pixels: bool = False,
) -> People:
    """Say how people are cut out, as published.

    Args:
        boxes: (N, 4) x, y, width, height in image px, each with an area.
        box_scores: (N,).
        input_size: (height, width) of a crop.
        whole_pixels: Whether crops go to the nearest whole pixels, where they are cut faster.
    """
    centers, scales = boxes_to_centers_scales(boxes, input_size)
    if whole_pixels:
        centers, scales = on_whole_pixels(centers, scales, input_size)
    return People(boxes, box_scores, centers, scales, crop_affines(centers, scales, input_size), input_size)


def estimate_poses(
    infer: Callable[[NDArray[np.uint8]], Outputs],
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32],
    input_size: tuple[int, int],
    skeleton: Skeleton,
) -> Poses:
    """One pose a box, in the order of the boxes, by any network.

    Args:
        infer: Maps (N, H, W, 3) uint8 BGR crops to the network's outputs; N is not 0.
        image: (H, W, 3) uint8 BGR.
        boxes: (N, 4) x, y, width, height in image px, each with an area.
        box_scores: (N,).
        input_size: (height, width) of a crop.
        skeleton: Of the heatmaps.
    """
    if not len(boxes):
        return Poses.empty(skeleton)
    people = place(boxes, box_scores, input_size)
    return people.poses(infer(people.cut(image)), skeleton)


def flip_average(outputs: Outputs, skeleton: Skeleton) -> Outputs:
    """The published flip test: mean of the heatmaps and of the mirrored crop's mirrored heatmaps, without a shift.

    Args:
        outputs: Of 2 N crops, the second half of which are the first half's mirror images.
        skeleton: Says which heatmaps change places.

    Returns:
        Outputs of the N crops; queries and keys are those of the crops as they were.
    """
    heatmaps, queries, keys = outputs
    count = len(heatmaps) // 2
    averaged = 0.5 * (heatmaps[:count] + heatmaps[count:, skeleton.mirrored, :, ::-1])
    return Outputs(averaged, *(None if array is None else array[:count] for array in (queries, keys)))


def without_duplicates(poses: Poses, input_size: tuple[int, int]) -> Poses:
    """The poses left by OKS-NMS as published, best first.

    Args:
        poses: All poses of a frame.
        input_size: (height, width) of the network's input: a pose's area is that of its padded box.
    """
    _, scales = boxes_to_centers_scales(poses.boxes, input_size)
    areas = (scales * PIXEL_STD).prod(axis=1)
    return poses[oks_nms(poses.keypoints, poses.person_scores, areas, poses.skeleton)]
