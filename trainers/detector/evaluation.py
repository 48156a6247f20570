"""COCO's box AP and recall of anything that finds people."""

from __future__ import annotations

import contextlib
import io
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from transpose_sdk.media.coco import stated_sizes
from transpose_sdk.media.image_file import read_annotated

LARGE = 2 * 96**2  # px of area from which a person is large, twice COCO's own bound
FEW = 4  # boxes an image: what a stream of a few people looks at
LOWEST_SCORE = 0.05  # of the boxes that are judged: AP and recall count the doubtful ones too

Find = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class BoxScores:
    """Accuracy on a set of images.

    Attributes:
        ap: Mean over IoU .5 to .95.
        ap50: AP at IoU .5.
        recall50: How many people the best four boxes of their image find at IoU .5, as a share of those that four boxes
            can find: of at most four people an image.
        recall75: The same at IoU .75.
        large50: The same at IoU .5, of the large people alone.
        best_f1: Best F1 at IoU .5 over all score thresholds.
        threshold: The lowest score threshold that gives 98 % of it. F1 is flat there, and a tracker forgets who is seen
            once, while nobody brings back whom the detector kept to itself.
        milliseconds: Median time of an image.
    """

    ap: float
    ap50: float
    recall50: float
    recall75: float
    large50: float
    best_f1: float
    threshold: float
    milliseconds: float


def read_images(annotations: Path, folder: Path) -> tuple[COCO, list[tuple[int, NDArray[np.uint8]]]]:
    """The ground truth and its images as (id, (H, W, 3) uint8 BGR).

    Raises:
        DataError: An image cannot be read.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
    sizes = stated_sizes(truth.dataset)
    images: list[tuple[int, NDArray[np.uint8]]] = []
    for entry in truth.dataset["images"]:
        size = sizes.get(entry["file_name"])
        images.append((entry["id"], read_annotated(folder / entry["file_name"], size)))
    return truth, images


def compare(finds: list[Find], truth: COCO, images: list[tuple[int, NDArray[np.uint8]]]) -> list[BoxScores]:
    """Score detectors side by side: each gets an image before any gets the next, so that all share a machine's moods.

    Give them a low score threshold (`LOWEST_SCORE`), since AP and recall count everything that they return.

    Args:
        finds: An image (H, W, 3) uint8 BGR in, boxes (N, 4) x, y, w, h and scores (N,) out.
        truth: Whom they should find.
        images: Where.
    """
    answers: list[list[dict[str, Any]]] = [[] for _ in finds]
    times = np.zeros((len(finds), len(images)))
    for column, (image_id, image) in enumerate(images):
        for row, find in enumerate(finds):
            start = time.perf_counter()
            boxes, scores = find(image)
            times[row, column] = time.perf_counter() - start
            answers[row] += [
                {"image_id": image_id, "category_id": 1, "bbox": box.tolist(), "score": float(score)}
                for box, score in zip(boxes, scores, strict=True)
            ]
    ids = [image_id for image_id, _ in images]
    return [
        _judge(found, truth, ids, float(milliseconds))
        for found, milliseconds in zip(answers, np.median(times, axis=1) * 1e3, strict=True)
    ]


def evaluate(find: Find, truth: COCO, images: list[tuple[int, NDArray[np.uint8]]]) -> BoxScores:
    """Score one detector; see `compare`."""
    return compare([find], truth, images)[0]


def _judge(found: list[dict[str, Any]], truth: COCO, image_ids: list[int], milliseconds: float) -> BoxScores:
    if not found:
        return BoxScores(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, milliseconds)
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes(found), "bbox")
        judge.params.imgIds = image_ids
        judge.params.maxDets = [FEW, 100]
        judge.params.areaRng = [[0, 1e10], [LARGE, 1e10]]
        judge.params.areaRngLbl = ["all", "large"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, 0, 1]  # IoU, 101 recalls; all areas, 100 boxes
    recall = judge.eval["recall"][:, 0, :, 0]  # IoU, area; four boxes
    everybody, large = (_within_reach(truth, image_ids, area) for area in (0, LARGE))
    thresholds, recalls = judge.eval["scores"][0, :, 0, 0, 1], judge.params.recThrs
    f1 = np.where(precision[0] > 0, 2 * precision[0] * recalls / np.maximum(precision[0] + recalls, 1e-9), 0.0)
    return BoxScores(
        ap=float(precision.mean()),
        ap50=float(precision[0].mean()),
        recall50=float(recall[0, 0]) / everybody,
        recall75=float(recall[5, 0]) / everybody,
        large50=float(recall[0, 1]) / large,
        best_f1=float(f1.max()),
        threshold=float(thresholds[f1 >= 0.98 * f1.max()].min()),
        milliseconds=milliseconds,
    )


def _within_reach(truth: COCO, image_ids: list[int], smallest: float) -> float:
    """Share of the people of at least some area (px) that `FEW` boxes an image can find; 1 where there is nobody."""
    found = truth.loadAnns(truth.getAnnIds(imgIds=image_ids, areaRng=[smallest, 1e10], iscrowd=False))
    people = Counter(person["image_id"] for person in found)
    return sum(min(FEW, count) for count in people.values()) / people.total() if people else 1.0
