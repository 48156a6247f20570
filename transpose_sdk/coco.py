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

COCO_NUMBERS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO file and check that it has images and annotations.

    Raises:
        DataError: It cannot be read or has another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): give a COCO keypoint file") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): give a COCO keypoint file") from None
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise DataError(f"{path} has no images and annotations: give a COCO keypoint file")
    return content


def is_labelled(annotation: dict[str, Any]) -> bool:
    """Whether it is one person with an area and a labelled joint, which is what the paper evaluates."""
    joints = annotation.get("keypoints", ())
    return not annotation.get("iscrowd") and max(joints[2::3], default=0) > 0 and min(annotation["bbox"][2:]) > 1


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
        truth.dataset = {"info": {}, **ground_truth}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_NUMBERS, (float(value) for value in evaluation.stats), strict=True))
