"""COCO keypoint files and COCO's ten numbers."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    evaluation = _evaluated(ground_truth, results, skeleton)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_NUMBERS, (float(value) for value in evaluation.stats), strict=True))


def coco_error(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton, resamples: int = 1000
) -> float:
    """The standard error of AP: its deviation when as many images are drawn again from these, with replacement.

    The bootstrap (Efron 1979) over images and not over persons, because people of one image are alike. The same images
    are drawn each time that it is called.

    Args:
        ground_truth: Content of a COCO keypoint file.
        results: COCO keypoint results.
        skeleton: Tells the sigmas.
        resamples: How often to draw.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    if not results:
        return 0.0
    evaluation = _evaluated(ground_truth, results, skeleton)
    images = len(evaluation.params.imgIds)
    answers = evaluation.evalImgs[:images]  # persons of any area come first
    found = [(place, answer) for place, answer in enumerate(answers) if answer is not None]
    persons = np.zeros(images)
    for place, answer in found:
        persons[place] = np.sum(answer["gtIgnore"] == 0)
    scores = np.concatenate([answer["dtScores"] for _, answer in found])
    order = np.argsort(-scores, kind="stable")
    image = np.concatenate([np.full(len(answer["dtScores"]), place) for place, answer in found])[order]
    matched = np.concatenate([answer["dtMatches"] for _, answer in found], axis=1)[:, order] > 0
    counted = ~np.concatenate([answer["dtIgnore"] for _, answer in found], axis=1).astype(bool)[:, order]
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(images, np.full(images, 1 / images), resamples)
    precisions = [_precision(matched & counted, counted, times[image], times @ persons) for times in drawn]
    return float(np.std(precisions, ddof=1))


def _precision(right: NDArray[np.bool_], counted: NDArray[np.bool_], times: NDArray[np.int64], persons: float) -> float:
    """Average precision over thresholds of OKS (T) of D results, best first, each of which counts several times.

    Args:
        right: (T, D), results that are right.
        counted: (T, D), results that are right or wrong.
        times: (D,), how often a result is there.
        persons: How many there are to find.
    """
    true, all_of_them = (np.cumsum(kind * times, axis=1) for kind in (right, counted))
    precision = true / np.maximum(all_of_them, 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = true / max(persons, 1)
    levels = np.linspace(0, 1, 101)
    reached = [np.searchsorted(row, levels, side="left") for row in recall]
    padded = np.pad(precision, ((0, 0), (0, 1)))
    return float(np.mean([row[places] for row, places in zip(padded, reached, strict=True)]))


def _evaluated(ground_truth: dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton) -> Any:
    """COCO's own evaluation, with its matches made."""
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
    return evaluation


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
