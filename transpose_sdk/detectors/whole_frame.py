"""The detector for videos of one person: the whole frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.detectors.detector import Detections, closed_error


class WholeFrame:
    """Says that one person fills the frame."""

    name = "frame"

    def __init__(self) -> None:
        self._closed = False

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """The frame as a box with score 1, whoever is in it; errors as of every `Detector`."""
        if self._closed:
            raise closed_error(self.name)
        height, width = to_bgr(image).shape[:2]
        return np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32)

    def close(self) -> None:
        """Take no more frames, as other detectors."""
        self._closed = True
