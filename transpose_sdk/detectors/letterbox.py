"""Fit an image into a network's fixed input without changing its aspect."""

from __future__ import annotations

import cv2
import numpy as np

from transpose_sdk.arrays import Float, Image


class Letterbox:
    """A reusable canvas of fixed size that images are shrunk or grown into.

    Args:
        size: (height, width) of the canvas.
        centered: Whether the image sits in the middle; else in the upper left corner.
        padding: Grey level around the image.
    """

    def __init__(self, size: tuple[int, int], centered: bool = False, padding: int = 114) -> None:
        self.centered = centered
        self.padding = padding
        self.canvas: Image = np.full((1, *size, 3), padding, np.uint8)
        self._inner = (0, 0, 0, 0)

    def fit(self, image: Image) -> tuple[float, float, float]:
        """Draw the image (H, W, 3) into `canvas`.

        Returns:
            scale, x, y: image pixel p lies at p * scale + (x, y) on the canvas.
        """
        canvas = self.canvas[0]
        scale = min(canvas.shape[0] / image.shape[0], canvas.shape[1] / image.shape[1])
        height = max(1, min(canvas.shape[0], round(image.shape[0] * scale)))
        width = max(1, min(canvas.shape[1], round(image.shape[1] * scale)))
        y = (canvas.shape[0] - height) // 2 if self.centered else 0
        x = (canvas.shape[1] - width) // 2 if self.centered else 0
        if self._inner != (x, y, width, height):  # another image size than last time: its leftovers must go
            canvas[:] = self.padding
            self._inner = (x, y, width, height)
        # INTER_AREA costs 3x and matters only where bilinear sampling would skip whole pixels
        shrink = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        cv2.resize(image, (width, height), dst=canvas[y : y + height, x : x + width], interpolation=shrink)
        return scale, float(x), float(y)


def to_image(boxes: Float, scale: float, x: float, y: float, size: tuple[int, int]) -> Float:
    """Canvas corners (N, 4) x1, y1, x2, y2 to image boxes (N, 4) x, y, w, h clipped to a (height, width) image."""
    corners = (boxes - np.array([x, y, x, y], np.float32)) / np.float32(scale)
    corners[:, [0, 2]] = corners[:, [0, 2]].clip(0, size[1])
    corners[:, [1, 3]] = corners[:, [1, 3]].clip(0, size[0])
    corners[:, 2:] -= corners[:, :2]
    return np.ascontiguousarray(corners, np.float32)
