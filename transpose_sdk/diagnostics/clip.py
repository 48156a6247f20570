"""A clip to measure with where no video is at hand: a probe's drawn people, and a detector that knows them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Image
from transpose_sdk.crops import PADDING
from transpose_sdk.detectors import Detections, Detector

SIZE = (480, 640)  # px, height and width
PEOPLE = 3
HEIGHT = 280  # px, of a crop in the clip
SWAY = 10  # px


def drawn_clip(crops: Image, count: int) -> tuple[list[Image], NDArray[np.float32]]:
    """People side by side on grey, who sway up and down.

    Args:
        crops: (P, H, W, 3) uint8 BGR, of a probe; the first three are shown.
        count: Frames.

    Returns:
        `count` frames, (480, 640, 3) uint8 BGR each.
        boxes: (N, 4) float32 x, y, width, height in px, of the people in the middle of their sway.
    """
    step = SIZE[1] // PEOPLE
    width = min(step, round(HEIGHT * crops.shape[2] / crops.shape[1]))
    people = [np.asarray(cv2.resize(crop, (width, HEIGHT)), np.uint8) for crop in crops[:PEOPLE]]
    top = (SIZE[0] - HEIGHT) // 2
    frames = []
    for index in range(count):
        frame = np.full((*SIZE, 3), 90, np.uint8)
        y = top + abs(index % (4 * SWAY) - 2 * SWAY) - SWAY
        for place, person in enumerate(people):
            frame[y : y + HEIGHT, place * step : place * step + width] = person
        frames.append(frame)
    margin = (1 - 1 / PADDING) / 2  # of a crop around its box
    left, inner = margin * width, (width / PADDING, HEIGHT / PADDING)
    boxes = [(place * step + left, top + margin * HEIGHT, *inner) for place in range(len(people))]
    return frames, np.array(boxes, np.float32)


class KnownPeople:
    """A detector that says where drawn people stand, after it let the real one look for the time that this takes.

    Args:
        detector: The real one, which need not take drawings for people.
        boxes: (N, 4) x, y, width, height in px.
    """

    def __init__(self, detector: Detector, boxes: NDArray[np.float32]) -> None:
        self.name = detector.name
        self._detector = detector
        self._boxes = boxes

    def __call__(self, image: Image) -> Detections:
        """Run the real detector, and answer with the boxes that are known."""
        self._detector(image)
        return self._boxes.copy(), np.full(len(self._boxes), 0.9, np.float32)

    def close(self) -> None:
        """Leave the real detector open: it is lent."""
