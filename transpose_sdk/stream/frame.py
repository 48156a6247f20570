"""What comes out of the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.poses import Poses


@dataclass(frozen=True)
class Latency:
    """Where a frame's time went, in seconds.

    Attributes:
        waiting: From the capture until work on it began.
        detection: In the person detector; 0 where it was not needed.
        cropping: Cutting the crops and handing them to the network, with the wait for a free request.
        inference: From then on until the network's answer.
        decoding: From heatmaps to poses, with the suppression of duplicates.
        tracking: Identities and smoothing.
        delivery: From then on until the consumer took the frame.
    """

    waiting: float = 0.0
    detection: float = 0.0
    cropping: float = 0.0
    inference: float = 0.0
    decoding: float = 0.0
    tracking: float = 0.0
    delivery: float = 0.0

    @property
    def total(self) -> float:
        """The frame's age when the consumer got it."""
        return (
            self.waiting
            + self.detection
            + self.cropping
            + self.inference
            + self.decoding
            + self.tracking
            + self.delivery
        )


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame with the people in it.

    Attributes:
        index: Position in the source from 0; dropped frames leave gaps.
        time: Seconds, strictly increasing, as the source tells it.
        image: (H, W, 3) uint8 BGR, as it was captured.
        poses: The people, with track ids where the stream tracks.
        predicted: (N, K) bool: keypoints that were not seen in this frame but carried on from the ones before.
        look: Why the person detector looked at this frame ("start", "lost", "score", "scene", "interval" or
            "always"), None where it did not.
        latency: Where the frame's time went.
        dropped: Frames that the stream has dropped so far.
    """

    index: int
    time: float
    image: NDArray[np.uint8]
    poses: Poses
    predicted: NDArray[np.bool_]
    look: str | None
    latency: Latency
    dropped: int
