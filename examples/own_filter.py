"""A filter of your own in the place of the One-Euro filter: here the median of the last frames of each track.

    python examples/own_filter.py clip.mp4 --out filtered.mp4

A tracker of your own goes the same way: `PoseStream(source, track=False)` leaves identities to you.
"""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np

import transpose_sdk as tp

MEMORY = 3  # frames: who errs on one of them is outvoted


class MedianFilter:
    """Takes leaps of a frame away, at the price of a lag of half its memory."""

    def __init__(self, memory: int = MEMORY) -> None:
        self.memory = memory
        self.past: dict[int, deque[np.ndarray]] = {}

    def __call__(self, poses: tp.Poses) -> tp.Poses:
        """The same people with steadier joints; `poses` is left as it is."""
        people = poses.track_ids.tolist()
        self.past = {person: self.past.get(person, deque(maxlen=self.memory)) for person in people}  # others are gone
        keypoints = poses.keypoints.copy()
        for row, person in enumerate(people):
            self.past[person].append(poses.keypoints[row])
            keypoints[row] = np.median(self.past[person], axis=0)
        return replace(poses, keypoints=keypoints)


def main() -> None:
    """Filter, and save the video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    steady = MedianFilter()
    moved: list[float] = []
    with tp.PoseStream(args.source, smooth=False) as stream, tp.VideoSink(args.out) as video:
        for frame in stream:
            poses = steady(frame.poses)
            moved += np.linalg.norm(poses.keypoints - frame.poses.keypoints, axis=2).ravel().tolist()
            video.write(replace(frame, poses=poses))
    print(f"joints were moved by {np.median(moved):.2f} px (median): {args.out}")


if __name__ == "__main__":
    main()
