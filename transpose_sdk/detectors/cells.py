"""Boxes from the cells of our own detector network."""

from __future__ import annotations

import numpy as np
from numba import njit

from transpose_sdk.arrays import Float

STRIDES = (8, 16, 32)


@njit(cache=True, nogil=True)
def decode_cells(scores: Float, distances: Float, height: int, width: int, threshold: float) -> tuple[Float, Float]:
    """Boxes of the cells that score at least `threshold`.

    Args:
        scores: (A,) float32 of all cells: levels from stride 8 to 32, each row by row.
        distances: (A, 4) float32: left, top, right, bottom distances from the cell's centre in strides.
        height: Of the network's input in pixels.
        width: Of the network's input in pixels.
        threshold: Lowest score to keep.

    Returns:
        boxes (n, 4) x1, y1, x2, y2 in input pixels, scores (n,).
    """
    boxes = np.empty((len(scores), 4), np.float32)
    kept = np.empty(len(scores), np.float32)
    count = cell = 0
    for stride in STRIDES:
        for row in range(height // stride):
            for column in range(width // stride):
                if scores[cell] >= threshold:
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    boxes[count, 0] = x - distances[cell, 0] * stride
                    boxes[count, 1] = y - distances[cell, 1] * stride
                    boxes[count, 2] = x + distances[cell, 2] * stride
                    boxes[count, 3] = y + distances[cell, 3] * stride
                    kept[count] = scores[cell]
                    count += 1
                cell += 1
    return boxes[:count], kept[:count]
