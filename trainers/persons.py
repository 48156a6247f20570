"""Persons with keypoints from COCO-format files, as arrays."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.coco import read_annotations
from transpose_sdk.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Persons:
    """N persons to train on.

    Attributes:
        file_names: Images, relative to their folder.
        image_index: (N,) index into `file_names`.
        boxes: (N, 4) x, y, width, height in image px.
        joints: (N, K, 2) in image px.
        weights: (N, K) target weight of each joint, 0 for unknown joints.
        sources: (N,) name of the data set each person comes from.
    """

    file_names: tuple[str, ...]
    image_index: NDArray[np.int64]
    boxes: NDArray[np.float32]
    joints: NDArray[np.float32]
    weights: NDArray[np.float32]
    sources: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.boxes)

    def subset(self, keep: NDArray[np.bool_]) -> Persons:
        """The persons for which `keep`, (N,), is true; the images stay as they are."""
        names = ("image_index", "boxes", "joints", "weights", "sources")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})


def load_persons(
    annotations: Path,
    *,
    keypoints: int = 17,
    teacher_weight: float = 0.0,
    teacher_min_score: float = 0.3,
    min_agreement: dict[str, float] | None = None,
) -> Persons:
    """Read the persons that have at least one usable joint.

    A human's joint (v > 0) has weight 1. Where no human labelled a joint and the file holds `teacher_keypoints`, the
    teacher's joint counts `teacher_weight` times its score.

    Args:
        annotations: COCO keypoint file.
        keypoints: Joints of a person, K.
        teacher_weight: See above; 0 ignores the teacher.
        teacher_min_score: Teacher's joints below it are unknown.
        min_agreement: By source: persons with a lower `teacher_agreement` are left out.

    Raises:
        DataError: The file cannot be read, is not of COCO's keypoint format, or has no usable person.
    """
    content = read_annotations(annotations)
    images = {image["id"]: index for index, image in enumerate(content["images"])}
    skipped: Counter[str] = Counter()
    index, boxes, joints, weights, sources = [], [], [], [], []
    for item in content["annotations"]:
        if item["image_id"] not in images:
            skipped["without an image"] += 1
            continue
        image = images[item["image_id"]]
        source = content["images"][image].get("source", "")
        labelled = _triples(item, "keypoints", keypoints, annotations)
        weight = (labelled[:, 2] > 0).astype(np.float32)
        position = labelled[:, :2].copy()
        if teacher_weight > 0:
            teacher = _triples(item, "teacher_keypoints", keypoints, annotations)
            taught = (weight == 0) & (teacher[:, 2] >= teacher_min_score)
            position[taught] = teacher[taught, :2]
            weight[taught] = teacher_weight * teacher[taught, 2]
        x, y, width, height = item["bbox"]
        image_size = content["images"][image].get("width", np.inf), content["images"][image].get("height", np.inf)
        if item.get("iscrowd"):
            skipped["crowds"] += 1
        elif not (width > 1 and height > 1):
            skipped["without an area"] += 1
        elif x >= image_size[0] or y >= image_size[1] or x + width <= 0 or y + height <= 0:
            skipped["outside their image"] += 1
        elif not weight.any():
            skipped["without a joint"] += 1
        elif item.get("teacher_agreement", 1.0) < (min_agreement or {}).get(source, 0.0):
            skipped["with doubtful labels"] += 1
        else:
            index.append(image)
            boxes.append(item["bbox"])
            joints.append(position)
            weights.append(weight)
            sources.append(source)
    if skipped:
        logger.info("left out: %s", ", ".join(f"{count} persons {why}" for why, count in skipped.items()))
    if not boxes:
        raise DataError(f"{annotations} has no person with a labelled joint: give a COCO keypoint file")
    return Persons(
        file_names=tuple(image["file_name"] for image in content["images"]),
        image_index=np.asarray(index, np.int64),
        boxes=np.asarray(boxes, np.float32),
        joints=np.stack(joints),
        weights=np.stack(weights),
        sources=np.asarray(sources, np.str_),
    )


def _triples(item: dict[str, Any], name: str, keypoints: int, annotations: Path) -> NDArray[np.float32]:
    """A person's joints as (K, 3), zeros where the annotation has none."""
    values = np.asarray(item.get(name) or np.zeros(3 * keypoints), np.float32)
    if values.shape != (3 * keypoints,):
        raise DataError(
            f"{annotations}: {name} of annotation {item.get('id')} has shape {values.shape}, not ({3 * keypoints},): "
            f"give x, y and visibility of {keypoints} joints in one row"
        )
    return values.reshape(keypoints, 3)
