"""Average precision by object keypoint similarity, as COCO defines it, of anything that turns crops into heatmaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.backends.protocol import Outputs
from transpose_sdk.coco import coco_numbers, is_labelled, read_annotations
from transpose_sdk.errors import DataError
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import Skeleton
from transpose_sdk.topdown import estimate_poses

from .image_cache import decode_image

if TYPE_CHECKING:
    from transpose_sdk.estimator import PoseEstimator

HeatmapFunction = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
ImageReader = Callable[[str], NDArray[np.uint8]]


def annotated_boxes(ground_truth: dict[str, Any]) -> dict[int, NDArray[np.float32]]:
    """Ground-truth boxes by image id, (N, 4), of the persons that have a labelled joint, as the paper evaluates."""
    boxes: dict[int, list[list[float]]] = {}
    for item in ground_truth["annotations"]:
        if is_labelled(item):
            boxes.setdefault(item["image_id"], []).append(item["bbox"])
    return {image: np.asarray(rows, np.float32) for image, rows in boxes.items()}


def evaluate_boxes(
    infer: HeatmapFunction,
    ground_truth: dict[str, Any],
    read_image: ImageReader,
    skeleton: Skeleton,
    input_size: tuple[int, int],
) -> dict[str, float]:
    """COCO's ten numbers with ground-truth boxes, of a network in training.

    Args:
        infer: Maps (N, H, W, 3) uint8 BGR crops to raw heatmaps (N, K, h, w).
        ground_truth: Content of a COCO keypoint file.
        read_image: Gives the (H, W, 3) BGR image of a file name.
        skeleton: Of the heatmaps.
        input_size: (height, width) of a crop.
    """

    def pose(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Poses:
        scores = np.ones(len(boxes), np.float32)
        return estimate_poses(lambda crops: Outputs(infer(crops)), image, boxes, scores, input_size, skeleton)

    results = pose_results(pose, ground_truth, read_image, annotated_boxes(ground_truth))
    return coco_numbers(ground_truth, results, skeleton)


def evaluate_estimator(estimator: PoseEstimator, annotations: Path, images: Path, boxes: str) -> dict[str, float]:
    """COCO's ten numbers of an opened bundle.

    Args:
        estimator: Of a bundle whose skeleton is that of the annotations.
        annotations: COCO keypoint file.
        images: Folder of its images.
        boxes: "gt" for annotated boxes, "det" for those of the estimator's detector.

    Raises:
        DataError: The annotations or an image cannot be read, or the skeletons differ.
    """
    truth = read_annotations(annotations)
    labelled = {len(item["keypoints"]) // 3 for item in truth["annotations"] if item.get("keypoints")}
    if labelled != {len(estimator.skeleton)}:
        raise DataError(
            f"{annotations} has persons of {sorted(labelled)} keypoints, the bundle {estimator.bundle.name} gives "
            f"{len(estimator.skeleton)}: evaluate it on annotations of {estimator.skeleton.name}"
        )
    if boxes == "gt":
        results = pose_results(estimator, truth, image_reader(images), annotated_boxes(truth))
    else:
        read = image_reader(images)
        results = [row for image in truth["images"] for row in estimator(read(image["file_name"])).to_coco(image["id"])]
    return coco_numbers(truth, results, estimator.skeleton)


def pose_results(
    pose: Callable[[NDArray[np.uint8], NDArray[np.float32]], Poses],
    ground_truth: dict[str, Any],
    read_image: ImageReader,
    boxes: dict[int, NDArray[np.float32]],
) -> list[dict[str, Any]]:
    """COCO keypoint results of a set of images.

    Args:
        pose: Maps an image and boxes (N, 4) to N poses.
        ground_truth: Content of a COCO keypoint file, of which only the images are read.
        read_image: Gives the (H, W, 3) BGR image of a file name.
        boxes: Boxes by image id.
    """
    results = []
    for image in ground_truth["images"]:
        if image["id"] in boxes:
            results += pose(read_image(image["file_name"]), boxes[image["id"]]).to_coco(image["id"])
    return results


def image_reader(folder: Path) -> ImageReader:
    """Read images of a folder by file name; DataError where one is missing or damaged."""

    def read(name: str) -> NDArray[np.uint8]:
        image = decode_image(folder / name)
        if not image.size:
            raise DataError(f"cannot read the image {folder / name}: check the images' folder")
        return image

    return read
