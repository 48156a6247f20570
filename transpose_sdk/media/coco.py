"""COCO keypoint files and COCO's ten numbers."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.small_file import read_small
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import DataError, MissingDependencyError
from transpose_sdk.skeletons import Skeleton

Numbers = tuple[float, ...]
PERSON = 1  # COCO's category
COCO_NUMBERS = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


@dataclass(frozen=True)
class _Image:
    """What is read of an image; width and height in px, where they are stated; boxes x, y, width, height, score."""

    id: int
    file_name: str
    width: float = 0
    height: float = 0
    source: str = ""
    person_boxes: tuple[tuple[float, float, float, float, float], ...] = ()


@dataclass(frozen=True)
class _Annotation:
    """What is read of an annotation; its own counts (`num_keypoints`) are not."""

    image_id: int
    bbox: tuple[float, float, float, float]
    id: int = 0
    iscrowd: bool | int = False
    area: float = 0
    keypoints: Numbers = ()
    teacher_keypoints: Numbers = ()
    teacher_agreement: float = 1
    head_size: float = 0


@dataclass(frozen=True)
class Category:
    """What is read of a category; joints by name, or by number from 1 (`skeleton`) or 0."""

    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] | None = None
    flip_pairs: tuple[tuple[str | int, str | int], ...] | None = None
    sigmas: float | tuple[float, ...] | None = None
    upper_body: tuple[str | int, ...] | None = None


@dataclass(frozen=True)
class _File:
    """What is read of a file."""

    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[Category, ...] = ()


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
        return json.loads(read_small(path).decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}): give a COCO keypoint file") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): give a COCO keypoint file") from None


def checked_annotations(content: Any, path: Path) -> dict[str, Any]:
    """The content of a COCO file, if everything that is read of it is what it should be.

    Raises:
        DataError: Something is missing or of another kind, two images have one id, or joints are no pixels.
    """
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise DataError(f"{path} has no images and annotations: give a COCO keypoint file")
    checked(content, _File, path)
    images = [image["id"] for image in content["images"]]
    if len(set(images)) < len(images):
        twice = next(key for key, count in Counter(images).items() if count > 1)
        raise DataError(f"{path}: two images have the id {twice}, so nobody knows whose annotations are whose")
    _require_pixels(content, path)
    return content


def checked(content: Any, kind: Any, path: Path) -> None:
    """Raise DataError, with the field and its value's kind, where the content of a file is none of a type."""
    try:
        typed(content, kind)
    except MismatchError as error:
        where = re.match(r"(annotations|images)\[(\d+)\]", str(error))
        item = content[where[1]][int(where[2])] if where else None
        named = f" (id {item['id']!r})" if isinstance(item, dict) and "id" in item else ""
        raise DataError(f"{path}: {error}{named}; correct it, or give a COCO keypoint file") from None


def _require_pixels(content: dict[str, Any], path: Path) -> None:
    """Raise DataError where all joints of a file lie within 0..1."""
    people = [item["keypoints"] for item in content["annotations"] if any(item.get("keypoints", ())[2::3])]
    if people and all(0 <= value <= 1 for joints in people for k in (0, 1) for value in joints[k::3]):
        raise DataError(
            f"{path}: all joints lie within 0..1, but COCO's are in pixels: multiply x by the image's width and y by "
            "its height"
        )


def is_labelled(annotation: dict[str, Any]) -> bool:
    """Whether it is one person with an area and a labelled joint, which is what the paper evaluates."""
    return has_joints(annotation) and has_area(annotation)


def has_joints(annotation: dict[str, Any]) -> bool:
    """Whether it is one person with a labelled joint."""
    return not annotation.get("iscrowd") and max(annotation.get("keypoints", ())[2::3], default=0) > 0


def has_area(annotation: dict[str, Any]) -> bool:
    """Whether its box is one."""
    return bool(np.isfinite(annotation["bbox"]).all()) and min(annotation["bbox"][2:]) > 0


def area_of(annotation: dict[str, Any]) -> float:
    """Area of a person in px^2: as stated, or else the box's."""
    stated = annotation.get("area", 0)
    return float(stated) if 0 < stated < math.inf else float(annotation["bbox"][2] * annotation["bbox"][3])


def stated_sizes(content: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """(height, width) in px of the images by file name, as the file states them."""
    return {
        image["file_name"]: (int(image["height"]), int(image["width"]))
        for image in content["images"]
        if 0 < image.get("height", 0) < math.inf and 0 < image.get("width", 0) < math.inf
    }


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
    """A copy with one category, ids and counts of our own, and all that pycocotools asks for; it writes into it."""
    annotations = [
        {
            "iscrowd": 0,
            "keypoints": [0] * (3 * keypoints),
            **item,
            "id": number,
            "area": area_of(item),
            "num_keypoints": sum(visibility > 0 for visibility in item.get("keypoints", ())[2::3]),
            "category_id": PERSON,
        }
        for number, item in enumerate(ground_truth["annotations"], 1)
    ]
    categories = [{"id": PERSON, "name": "person"}]
    return {"info": {}, **ground_truth, "categories": categories, "annotations": annotations}
