"""Crops of real people, to calibrate a quantized graph with and to measure it on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.crops import PIXEL_STD, boxes_to_centers_scales, check_boxes, crop_affines, warp_crops
from transpose_sdk.detectors import Detector
from transpose_sdk.errors import DataError, InputError
from transpose_sdk.media.coco import is_labelled, read_annotations, stated_sizes
from transpose_sdk.media.image_file import IMAGE_SUFFIXES, AnnotatedImages, read_annotated


@dataclass(frozen=True, eq=False)
class People:
    """N people as a network sees them.

    Attributes:
        crops: (N, H, W, 3) uint8 BGR.
        centers: (N, 2) float32, image px.
        scales: (N, 2) float32, padded boxes in units of 200 px.
        boxes: (N, 4) float32 x, y, width, height in image px.
        images: (N,) int64: people of one image have one number; the image's id where there is `truth`.
        truth: COCO annotations of exactly these people; None where nobody annotated them.
    """

    crops: NDArray[np.uint8]
    centers: NDArray[np.float32]
    scales: NDArray[np.float32]
    boxes: NDArray[np.float32]
    images: NDArray[np.int64]
    truth: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def box_areas(self) -> NDArray[np.float64]:
        """(N,) px^2 of the boxes on their crops."""
        ratio = (self.crops.shape[2] - 1) / np.maximum(self.scales[:, 0] * PIXEL_STD - 1, 1.0)
        return np.asarray(self.boxes[:, 2:].prod(1) * ratio**2, np.float64)

    def take(self, rows: NDArray[np.bool_]) -> People:
        """The people of a mask (N,)."""
        truth = self.truth
        if truth is not None:
            kept = set(self.images[rows].tolist())
            truth = {
                "images": [image for image in truth["images"] if image["id"] in kept],
                "annotations": [a for a, row in zip(truth["annotations"], rows, strict=True) if row],
                "categories": truth["categories"],
            }
        arrays = {name: getattr(self, name)[rows] for name in ("crops", "centers", "scales", "boxes", "images")}
        return replace(self, **arrays, truth=truth)

    def split(self, first: int) -> tuple[People, People]:
        """Two groups without an image in common, the first one of about `first` people.

        Raises:
            DataError: All people are in one image.
        """
        numbers, counts = np.unique(self.images, return_counts=True)
        order = np.random.default_rng(0).permutation(len(numbers))
        taken = order[np.concatenate(([0], counts[order].cumsum()[:-1])) < first]
        if len(taken) == len(numbers):
            taken = taken[:-1]
        rows = np.isin(self.images, numbers[taken])
        if not rows.any():
            raise DataError("the people to calibrate with are all in one image: give at least two images with people")
        return self.take(rows), self.take(~rows)


def annotated_people(
    annotations: Path, images: Path, input_size: tuple[int, int], limit: int, keypoints: int | None = None
) -> People:
    """People of a COCO keypoint file, by their annotated boxes.

    Args:
        annotations: COCO keypoint file. People without a labelled joint and crowds are left out.
        images: Folder of its images.
        input_size: (height, width) of a crop.
        limit: At most so many people, images drawn at random and taken whole, the same ones every time.
        keypoints: How many a person has to have; None takes any.

    Raises:
        DataError: The file cannot be read, has no person in it or people of other keypoints, or an image is missing.
    """
    content = read_annotations(annotations)
    people: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in filter(is_labelled, content["annotations"]):
        people[annotation["image_id"]].append(annotation)
    described = {image["id"]: image for image in content["images"] if image["id"] in people}
    if not described:
        raise DataError(f"{annotations} has no person with a labelled joint: give a COCO keypoint file with people")
    found = {len(annotation["keypoints"]) // 3 for group in people.values() for annotation in group}
    if keypoints is not None and found != {keypoints}:
        raise DataError(f"{annotations} has people of {sorted(found)} keypoints, the network gives {keypoints}")
    numbers = sorted(described)
    chosen: list[int] = []
    for index in np.random.default_rng(0).permutation(len(numbers)):
        if sum(len(people[number]) for number in chosen) >= limit:
            break
        chosen.append(numbers[index])
    read_image = AnnotatedImages(images, stated_sizes(content))
    groups = (
        (number, read_image(described[number]["file_name"]), [one["bbox"] for one in people[number]])
        for number in chosen
    )
    truth = {
        "images": [described[number] for number in chosen],
        "annotations": [annotation for number in chosen for annotation in people[number]],
        "categories": content.get("categories", [{"id": 1, "name": "person"}]),
    }
    return replace(_crop(groups, input_size), truth=truth)


def detected_people(folder: Path, detector: Detector, input_size: tuple[int, int], limit: int) -> People:
    """People that a detector finds in a folder of images.

    Args:
        folder: Images, also in folders below it.
        detector: Gives the boxes.
        input_size: (height, width) of a crop.
        limit: At most about so many people; images are drawn at random, the same ones every time.

    Raises:
        DataError: There is no image or nobody in them, or an image is damaged.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder} has no images: give a folder of photos of people, or a COCO keypoint file")

    def found() -> Iterator[tuple[int, NDArray[np.uint8], list[Any]]]:
        count = 0
        for index in np.random.default_rng(0).permutation(len(paths)):
            image = read_annotated(paths[index])
            boxes = detector(image)[0].tolist()
            if boxes:
                yield int(index), image, boxes
            count += len(boxes)
            if count >= limit:
                return

    people = _crop(found(), input_size)
    if not len(people):
        raise DataError(
            f"the detector {detector.name!r} finds no person in the {len(paths)} images of {folder}: "
            "give photos of people, or a COCO keypoint file with their boxes"
        )
    return people


def _crop(groups: Iterable[tuple[int, NDArray[np.uint8], list[Any]]], input_size: tuple[int, int]) -> People:
    """People of (image number, image, boxes), one image in memory at a time."""
    crops = [np.empty((0, *input_size, 3), np.uint8)]
    boxes, images = [np.empty((0, 4), np.float32)], [np.empty(0, np.int64)]
    for number, image, rows in groups:
        try:
            some = check_boxes(rows, image.shape[:2])
        except InputError as error:
            raise DataError(f"image {number} of the people to calibrate with has a bad box: {error}") from None
        affines = crop_affines(*boxes_to_centers_scales(some, input_size), input_size)
        crops.append(warp_crops(image, affines, input_size))
        boxes.append(some)
        images.append(np.full(len(some), number, np.int64))
    box = np.concatenate(boxes)
    centers, scales = boxes_to_centers_scales(box, input_size)
    return People(np.concatenate(crops), centers, scales, box, np.concatenate(images))
