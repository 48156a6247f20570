"""COCO's box AP and recall of anything that finds people."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from transpose_sdk.media.image_file import read_annotated

LOWEST_SCORE = 0.05  # of the boxes that are judged: AP and recall count the doubtful ones too

Find = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class BoxScores:
    """Accuracy on a set of images.

    Attributes:
        ap: Mean over IoU .5 to .95.
        ap50: AP at IoU .5.
        recall50: Recall at IoU .5 with every box that was given.
        best_f1: Best F1 at IoU .5 over all score thresholds.
        best_threshold: The score threshold that gives it.
        milliseconds: Median time of an image.
    """

    ap: float
    ap50: float
    recall50: float
    best_f1: float
    best_threshold: float
    milliseconds: float


def read_images(annotations: Path, folder: Path) -> tuple[COCO, list[tuple[int, NDArray[np.uint8]]]]:
    """The ground truth and its images as (id, (H, W, 3) uint8 BGR).

    Raises:
        DataError: An image cannot be read.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
    images: list[tuple[int, NDArray[np.uint8]]] = []
    for entry in truth.dataset["images"]:
        images.append((entry["id"], read_annotated(folder / entry["file_name"])))
    return truth, images


def evaluate(find: Find, truth: COCO, images: list[tuple[int, NDArray[np.uint8]]]) -> BoxScores:
    """Score a detector: an image (H, W, 3) uint8 BGR in, boxes (N, 4) x, y, w, h and scores (N,) out.

    Give it a low score threshold (`LOWEST_SCORE`), since AP and recall count everything that it returns.
    """
    detections: list[dict[str, Any]] = []
    times = []
    for image_id, image in images:
        start = time.perf_counter()
        boxes, scores = find(image)
        times.append(time.perf_counter() - start)
        detections += [
            {"image_id": image_id, "category_id": 1, "bbox": box.tolist(), "score": float(score)}
            for box, score in zip(boxes, scores, strict=True)
        ]
    milliseconds = float(np.median(times) * 1e3)
    if not detections:
        return BoxScores(0.0, 0.0, 0.0, 0.0, 1.0, milliseconds)
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes(detections), "bbox")
        judge.params.imgIds = [image_id for image_id, _ in images]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    precision = judge.eval["precision"][0, :, 0, 0, -1]  # IoU .5, 101 recalls, all areas, 100 boxes
    thresholds = judge.eval["scores"][0, :, 0, 0, -1]
    recalls = judge.params.recThrs
    f1 = np.where(precision > 0, 2 * precision * recalls / np.maximum(precision + recalls, 1e-9), 0.0)
    return BoxScores(
        ap=float(judge.stats[0]),
        ap50=float(judge.stats[1]),
        recall50=float(judge.eval["recall"][0, 0, 0, -1]),
        best_f1=float(f1.max()),
        best_threshold=float(thresholds[f1.argmax()]),
        milliseconds=milliseconds,
    )
