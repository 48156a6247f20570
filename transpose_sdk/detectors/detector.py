"""What a person detector is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.errors import DetectorError
from transpose_sdk.lifetime.process_end import fork_remedy, is_forked

Detections = tuple[NDArray[np.float32], NDArray[np.float32]]  # boxes (N, 4) x, y, w, h in pixels; scores (N,)


def closed_error(name: str) -> DetectorError:
    """What a detector raises that is used after its `close`."""
    return DetectorError(f"the detector {name} is closed: open it again with open_detector")


def require_own_process(name: str, process: int) -> None:
    """Raise DetectorError in a forked child of the process that opened a detector."""
    if is_forked(process):
        raise DetectorError(f"the detector {name} cannot be used here: {fork_remedy(process)}")


@runtime_checkable
class Detector(Protocol):
    """Finds people in a frame. A stream calls it from one thread; one that several streams share has to stand more.

    Attributes:
        name: What to call it in reports.
    """

    name: str

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Find people.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            boxes (N, 4) float32 x, y, w, h in pixels, inside the image, best first; scores (N,) float32 in 0..1.

        Raises:
            InputError: The image is none.
            DetectorError: The detector is closed.
        """

    def close(self) -> None:
        """Let go of the network; harmless when called again."""
