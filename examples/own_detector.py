"""A person detector of your own, in 15 lines: whatever moves before a camera that stands still.

    python examples/own_detector.py clip.mp4 --out moving.mp4

It learns the background from the frames: what has long been still belongs to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp


class MovingPeople:
    """All that `transpose_sdk.detectors.Detector` asks for: a name, a call and a close."""

    name = "moving people"

    def __init__(self, smallest: int = 400) -> None:
        self.background = cv2.createBackgroundSubtractorMOG2(history=100, detectShadows=False)
        self.smallest = smallest  # px of a person

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H, W, 3) BGR to boxes (N, 4), x, y, width and height in px, and scores (N,)."""
        moving = cv2.morphologyEx(self.background.apply(image), cv2.MORPH_CLOSE, np.ones((15, 5), np.uint8))
        stats = cv2.connectedComponentsWithStats(moving)[2][1:]  # the first is all that stands still
        people = stats[(stats[:, 4] >= self.smallest) & (stats[:, 3] > stats[:, 2])]  # large, and higher than wide
        return people[:, :4].astype(np.float32), np.ones(len(people), np.float32)

    def close(self) -> None:
        """There is nothing to let go of."""


def main() -> None:
    """Pose what moves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    # A background is learned from every frame; a detector that needs but one is better asked less often.
    every_frame = tp.DetectionOptions(shortest=0, longest=0)
    with (
        tp.PoseEstimator(detector=MovingPeople()) as estimator,
        tp.PoseStream(args.source, estimator, detection=every_frame) as stream,
        tp.VideoSink(args.out) as video,
    ):
        people = set()
        for frame in stream:
            video.write(frame)
            people.update(frame.poses.track_ids.tolist())
        print(f"{len(people)} people moved: {args.out}")


if __name__ == "__main__":
    main()
