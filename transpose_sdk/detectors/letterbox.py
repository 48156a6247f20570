"""Fit an image into a network's fixed input: with its aspect, or stretched where the network learned from such."""

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
        stretched: Whether the image fills the canvas, whatever becomes of its aspect.
    """

    def __init__(
        self, size: tuple[int, int], centered: bool = False, padding: int = 114, stretched: bool = False
    ) -> None:
        self.centered = centered
        self.padding = padding
        self.stretched = stretched
        self.canvas: Image = np.full((1, *size, 3), padding, np.uint8)
        self._inner = (0, 0, 0, 0)

    def fit(self, image: Image) -> tuple[Float, Float]:
        """Draw the image (H, W, 3) into `canvas`.

        Returns:
            scale, offset: image pixel p lies at p * scale + offset on the canvas; each (2,), x and y.
        """
        canvas = self.canvas[0]
        scales = np.array([canvas.shape[1] / image.shape[1], canvas.shape[0] / image.shape[0]], np.float32)
        if not self.stretched:
            scales[:] = scales.min()
        width = max(1, min(canvas.shape[1], round(float(image.shape[1] * scales[0]))))
        height = max(1, min(canvas.shape[0], round(float(image.shape[0] * scales[1]))))
        y = (canvas.shape[0] - height) // 2 if self.centered else 0
        x = (canvas.shape[1] - width) // 2 if self.centered else 0
        if self._inner != (x, y, width, height):  # another image size than last time: its leftovers must go
            canvas[:] = self.padding
            self._inner = (x, y, width, height)
        cv2.resize(_halved(image, width, height), (width, height), dst=canvas[y : y + height, x : x + width])
        return scales, np.array([x, y], np.float32)


def _halved(image: Image, width: int, height: int) -> Image:
    """The image at half its width or height, again and again, until (width, height) is at least half of what is left.

    Bilinear sampling then skips no pixel: like INTER_AREA at once, in a sixth of the time (1920x1080 to 256x224: .72 ms
    against 4.56 on one core).
    """
    while (wide := image.shape[1] > 2 * width) | (high := image.shape[0] > 2 * height):
        half = (
            -(-image.shape[1] // 2) if wide else image.shape[1],
            -(-image.shape[0] // 2) if high else image.shape[0],
        )
        image = np.asarray(cv2.resize(image, half), np.uint8)
    return image


def to_image(boxes: Float, scale: Float, offset: Float, size: tuple[int, int]) -> Float:
    """Canvas corners (N, 4) x1, y1, x2, y2 to image boxes (N, 4) x, y, w, h clipped to a (height, width) image."""
    corners = (boxes - np.tile(offset, 2)) / np.tile(scale, 2)
    corners[:, [0, 2]] = corners[:, [0, 2]].clip(0, size[1])
    corners[:, [1, 3]] = corners[:, [1, 3]].clip(0, size[0])
    corners[:, 2:] -= corners[:, :2]
    return np.ascontiguousarray(corners, np.float32)
