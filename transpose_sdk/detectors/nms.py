"""Greedy non-maximum suppression of person boxes, and what the suppressed ones know about those that stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Float
from transpose_sdk.compiled import compiled


@compiled()
def _iou(a: Float, b: Float) -> float:
    """IoU of two boxes x1, y1, x2, y2."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@compiled()
def suppress(boxes: Float, order: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Walk boxes (N, 4) x1, y1, x2, y2 in `order` and keep each that overlaps no kept one by more than `threshold`."""
    kept = np.empty(len(order), np.int64)
    count = 0
    for i in order:
        keep = True
        for k in range(count):
            if _iou(boxes[i], boxes[kept[k]]) > threshold:
                keep = False
                break
        if keep:
            kept[count] = i
            count += 1
    return kept[:count]


def non_maximum_suppression(boxes: Float, scores: Float, threshold: float = 0.5) -> NDArray[np.int64]:
    """Indices of the boxes to keep, best first.

    Args:
        boxes: (N, 4) float32, x1, y1, x2, y2.
        scores: (N,) float32.
        threshold: IoU above which the weaker of two boxes goes.
    """
    return suppress(boxes, np.argsort(-scores, kind="stable"), threshold)


@compiled()
def vote(boxes: Float, scores: Float, kept: NDArray[np.int64], threshold: float) -> Float:
    """The kept boxes, each moved to the mean of all boxes that overlap it well, by score and IoU.

    Box voting (Gidaris and Komodakis, 2015): neighbouring cells see the same person and err in different ways.

    Args:
        boxes: (N, 4) float32, x1, y1, x2, y2.
        scores: (N,) float32.
        kept: (n,) indices that `suppress` returned.
        threshold: IoU from which a box has a say.

    Returns:
        (n, 4) float32.
    """
    voted = np.zeros((len(kept), 4), np.float32)
    for n in range(len(kept)):
        total = np.float32(0)
        for i in range(len(boxes)):
            overlap = _iou(boxes[kept[n]], boxes[i])
            if overlap >= threshold:
                weight = np.float32(scores[i] * overlap)
                voted[n] += weight * boxes[i]
                total += weight
        # Without area or score nobody has a say, not even the box itself.
        voted[n] = voted[n] / total if total > 0 else boxes[kept[n]]
    return voted
