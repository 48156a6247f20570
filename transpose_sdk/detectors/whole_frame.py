"""The detector for videos of one person: the whole frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.checks.images import to_bgr
from transpose_sdk.detectors.detector import Detections


class WholeFrame:
    """Says that one person fills the frame."""

    name = "frame"

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """The frame as a box with score 1; see `Detector`."""
        height, width = to_bgr(image).shape[:2]
        return np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32)

    def close(self) -> None:
        """Nothing to let go of."""
