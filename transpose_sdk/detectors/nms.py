"""Greedy non-maximum suppression of person boxes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float32]


@njit(cache=True, nogil=True)
def suppress(boxes: Float, order: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Walk boxes (N, 4) x1, y1, x2, y2 in `order` and keep each that overlaps no kept one by more than `threshold`."""
    kept = np.empty(len(order), np.int64)
    count = 0
    for i in order:
        area = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
        keep = True
        for k in range(count):
            j = kept[k]
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if width > 0 and height > 0:
                shared = width * height
                union = area + (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1]) - shared
                if shared > threshold * union:
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
