"""Persons with keypoints from COCO-format files, as arrays."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def load_persons(
    annotations: Path,
    *,
    teacher_weight: float = 0.0,
    teacher_min_score: float = 0.3,
    min_agreement: dict[str, float] | None = None,
) -> Persons:
    """Read the persons that have at least one usable joint.

    A human's joint (v > 0) has weight 1. Where no human labelled a joint and the file holds `teacher_keypoints`, the
    teacher's joint counts `teacher_weight` times its score.

    Args:
        annotations: COCO keypoint file.
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
        labelled = np.asarray(item.get("keypoints", ()), np.float32).reshape(-1, 3)
        weight = (labelled[:, 2] > 0).astype(np.float32)
        position = labelled[:, :2].copy()
        teacher = np.asarray(item.get("teacher_keypoints", ()), np.float32).reshape(-1, 3)
        if len(teacher) and teacher_weight > 0:
            taught = (weight == 0) & (teacher[:, 2] >= teacher_min_score)
            position[taught] = teacher[taught, :2]
            weight[taught] = teacher_weight * teacher[taught, 2]
        width, height = item["bbox"][2:]
        if item.get("iscrowd"):
            skipped["crowds"] += 1
        elif width <= 1 or height <= 1:
            skipped["without an area"] += 1
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


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO file and check that it has images and annotations.

    Raises:
        DataError: It cannot be read or has another form.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): give a COCO keypoint file") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): give a COCO keypoint file") from None
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise DataError(f"{path} has no images and annotations: give a COCO keypoint file")
    return content
