"""COCO keypoint files and COCO's ten numbers."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from transpose_sdk.errors import DataError, MissingDependencyError
from transpose_sdk.skeletons import Skeleton

PERSON = 1  # COCO's category
COCO_NUMBERS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO file and check that it has images and annotations.

    Raises:
        DataError: It cannot be read or has another form.
    """
    return checked_annotations(read_json(path), path)


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): give a COCO keypoint file") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): give a COCO keypoint file") from None


def checked_annotations(content: Any, path: Path) -> dict[str, Any]:
    """The content of a COCO file, if it has images and annotations.

    Raises:
        DataError: It has another form.
    """
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise DataError(f"{path} has no images and annotations: give a COCO keypoint file")
    for kind, names in (("images", ("id", "file_name")), ("annotations", ("image_id", "bbox"))):
        for number, item in enumerate(content[kind]):
            if missing := [name for name in names if name not in item]:
                raise DataError(
                    f"{path}: {kind}[{number}] has no {' and no '.join(missing)}: give a COCO keypoint file"
                )
    return content


def is_labelled(annotation: dict[str, Any]) -> bool:
    """Whether it is one person with an area and a labelled joint, which is what the paper evaluates."""
    joints = annotation.get("keypoints", ())
    return not annotation.get("iscrowd") and max(joints[2::3], default=0) > 0 and min(annotation["bbox"][2:]) > 0


def coco_numbers(ground_truth: dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton) -> dict[str, float]:
    """COCO's ten numbers.

    Args:
        ground_truth: Content of a COCO keypoint file.
        results: COCO keypoint results.
        skeleton: Tells the sigmas.

    Returns:
        `COCO_NUMBERS` by name.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    if not results:
        return dict.fromkeys(COCO_NUMBERS, 0.0)
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingDependencyError("average precision needs pycocotools: pip install pycocotools") from None
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress on standard output
        truth = COCO()
        truth.dataset = _complete(ground_truth, len(skeleton))
        truth.createIndex()
        # With a box in it, a result's area would be the box's; COCO wants that of the joints' extent.
        names = ("image_id", "keypoints", "score")
        bare = [{"category_id": PERSON, **{name: row[name] for name in names}} for row in results]
        evaluation = COCOeval(truth, truth.loadRes(bare), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_NUMBERS, (float(value) for value in evaluation.stats), strict=True))


def _complete(ground_truth: dict[str, Any], keypoints: int) -> dict[str, Any]:
    """A copy with one category and all that pycocotools asks for, which other files leave out; it writes into it."""
    annotations = [
        {
            "id": number,
            "iscrowd": 0,
            "area": item["bbox"][2] * item["bbox"][3],
            "keypoints": [0] * (3 * keypoints),
            "num_keypoints": sum(visibility > 0 for visibility in item.get("keypoints", ())[2::3]),
            **item,
            "category_id": PERSON,
        }
        for number, item in enumerate(ground_truth["annotations"], 1)
    ]
    categories = [{"id": PERSON, "name": "person"}]
    return {"info": {}, **ground_truth, "categories": categories, "annotations": annotations}
