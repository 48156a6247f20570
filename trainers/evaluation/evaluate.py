"""A network's answers to a benchmark, and its score: average precision, PCKh or PCK."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from transpose_sdk.backend import Arrays, Outputs
from transpose_sdk.boxes import touching
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import DataError
from transpose_sdk.media.coco import coco_error, coco_numbers, read_json, stated_sizes
from transpose_sdk.media.image_file import AnnotatedImages
from transpose_sdk.poses import Poses
from transpose_sdk.topdown import estimate_poses, without_duplicates

from .benchmark import Benchmark
from .pairs import Answer, correct_shares, pair_up

if TYPE_CHECKING:
    from transpose_sdk.estimator import PoseEstimator

logger = logging.getLogger(__name__)

Pixels = Annotated[float, Meta(ge=-1e9, le=1e9)]
HeatmapFunction = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
ImageReader = Callable[[str], NDArray[np.uint8]]
# Maps an image and (N, 4) boxes of people to N poses.
PoseFunction = Callable[[NDArray[np.uint8], NDArray[np.float32]], Poses]


def evaluate_boxes(
    infer: HeatmapFunction, benchmark: Benchmark, read_image: ImageReader, input_size: tuple[int, int]
) -> dict[str, float]:
    """The score of a network in training, with annotated boxes.

    Args:
        infer: Maps (N, H, W, 3) uint8 BGR crops to raw heatmaps (N, K, h, w).
        benchmark: The people.
        read_image: Gives the (H, W, 3) BGR image of a file name.
        input_size: (height, width) of a crop.

    Returns:
        See `score`.
    """

    def outputs(crops: NDArray[np.uint8]) -> Arrays:
        return Outputs(infer(crops))

    def pose(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Poses:
        return estimate_poses(outputs, image, boxes, input_size, benchmark.skeleton)

    return score(benchmark, answers_to_boxes(pose, benchmark, read_image), input_size)


def evaluate_estimator(
    estimator: PoseEstimator, benchmark: Benchmark, images: Path, boxes: str = "gt"
) -> dict[int, Answer]:
    """An opened bundle's answers, on any device and precision.

    Args:
        estimator: Of the bundle, whose skeleton is the benchmark's.
        benchmark: The people.
        images: Folder of the images.
        boxes: "gt" for annotated boxes, "det" for those of the estimator's detector, or a file of detections as COCO's
            results are: a list of image_id, bbox and score.

    Returns:
        By image id, for `score` and `pair_up`.

    Raises:
        DataError: No image can be read, or the file holds no detections for them.
    """
    read_image = image_reader(images, benchmark)
    if boxes == "gt":
        return answers_to_boxes(estimator, benchmark, read_image)
    if boxes == "det":
        return {key: Answer(estimator(image)) for key, image in _readable(benchmark, read_image)}
    found = read_detections(Path(boxes), {image["id"] for image in benchmark.content["images"]})
    answers = {}
    for key, image in _readable(benchmark, read_image, found):
        inside = touching(found[key][:, :4], (image.shape[1], image.shape[0]))
        poses = estimator(image, found[key][inside, :4], found[key][inside, 4])
        answers[key] = Answer(without_duplicates(poses, estimator.bundle.input_size))
    return answers


def answers_to_boxes(pose: PoseFunction, benchmark: Benchmark, read_image: ImageReader) -> dict[int, Answer]:
    """Poses of the annotated boxes, by image id; a person whose box lies outside the image is missed.

    Args:
        pose: Maps an image and boxes (N, 4) of people to N poses.
        benchmark: The people.
        read_image: Gives the (H, W, 3) BGR image of a file name.

    Raises:
        DataError: No image can be read.
    """
    answers = {}
    for key, image in _readable(benchmark, read_image, benchmark.people):
        boxes = np.array([item["bbox"] for item in benchmark.people[key]], np.float32)
        owners = np.flatnonzero(touching(boxes, (image.shape[1], image.shape[0])))
        answers[key] = Answer(pose(image, boxes[owners]), owners)
    return answers


def score(benchmark: Benchmark, answers: Mapping[int, Answer], input_size: tuple[int, int]) -> dict[str, float]:
    """The benchmark's numbers, 0..1: COCO's ten after OKS-NMS, MPII's PCKh, or LSP's PCK.

    Args:
        benchmark: The people.
        answers: By image id.
        input_size: (height, width) of a crop, which decides the padded area that OKS-NMS takes for a person's.
    """
    if benchmark.kind != "coco":
        return correct_shares(pair_up(benchmark, answers), benchmark.kind)
    return coco_numbers(benchmark.content, _results(answers, input_size), benchmark.skeleton)


def standard_error(benchmark: Benchmark, answers: Mapping[int, Answer], input_size: tuple[int, int]) -> float:
    """Of the AP that `score` gives, by the bootstrap over images; see `transpose_sdk.coco.coco_error`."""
    return coco_error(benchmark.content, _results(answers, input_size), benchmark.skeleton)


def _results(answers: Mapping[int, Answer], input_size: tuple[int, int]) -> list[dict[str, Any]]:
    """As published, after OKS-NMS with annotated boxes too."""
    left = {key: without_duplicates(answer.poses, input_size) for key, answer in answers.items()}
    return [row for key, poses in left.items() for row in poses.to_coco(key)]


@dataclass(frozen=True)
class _Detection:
    """A row of COCO's results; numbers that no image has, NaN among them, are refused."""

    image_id: int
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]
    score: Pixels
    category_id: int = 1


def read_detections(path: Path, images: set[Any]) -> dict[int, NDArray[np.float32]]:
    """Detected persons by image id, (N, 5): x, y, width, height, score.

    Args:
        path: COCO results: a list of image_id, bbox, score and, perhaps, category_id (1 is a person).
        images: Ids of the images that matter.

    Raises:
        DataError: It is no such file, or has nobody in these images.
    """
    try:
        rows = typed(read_json(path), list[_Detection])
    except MismatchError as error:
        raise DataError(f"{path} has no image_id, bbox and score in each row ({error}): give detections") from None
    found: dict[int, list[list[float]]] = {}
    for row in rows:
        if row.image_id in images and row.category_id == 1 and min(row.bbox[2:]) > 0:
            found.setdefault(row.image_id, []).append([*row.bbox, row.score])
    if not found:
        raise DataError(f"{path} has no person in these {len(images)} images: give detections of the same set")
    return {key: np.array(boxes, np.float32) for key, boxes in found.items()}


def image_reader(folder: Path, benchmark: Benchmark) -> ImageReader:
    """Read a benchmark's images from a folder by file name; DataError where one is missing or damaged."""
    return AnnotatedImages(folder, stated_sizes(benchmark.content))


def _readable(
    benchmark: Benchmark, read_image: ImageReader, wanted: Mapping[int, Any] | None = None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Id and pixels of the images; those that cannot be read are reported once, and their people are missed."""
    failed: list[DataError] = []
    count = 0
    for item in benchmark.content["images"]:
        if wanted is not None and item["id"] not in wanted:
            continue
        count += 1
        try:
            image = read_image(item["file_name"])
        except DataError as error:
            failed.append(error)
            continue
        yield item["id"], image
    if count and len(failed) == count:
        raise failed[0]
    if failed:
        logger.warning("%d of %d images are missed, the first: %s", len(failed), count, failed[0])
