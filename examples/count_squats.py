"""Count squats from the angles of the knees.

    python examples/count_squats.py squats.mp4

A squat counts when its person stands again.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

import transpose_sdk as tp

DEEP, UPRIGHT = 115.0, 155.0  # degrees of the knee; between them nothing is decided, so that a tremble does not count


def joint_angle(poses: tp.Poses, first: str, middle: str, last: str) -> NDArray[np.float64]:
    """Angle at a joint of everybody, (N,), in degrees: 180 is stretched."""
    one, other = poses[first] - poses[middle], poses[last] - poses[middle]
    cosine = (one * other).sum(1) / np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), 1e-6)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def main() -> None:
    """Print each squat when its person stands again."""
    counts: dict[int, int] = {}
    deep: set[int] = set()
    with tp.PoseStream(sys.argv[1]) as stream:
        for frame in stream:
            poses = frame.poses
            knees = [joint_angle(poses, f"{side}_hip", f"{side}_knee", f"{side}_ankle") for side in ("left", "right")]
            for person, knee in zip(poses.track_ids.tolist(), np.mean(knees, axis=0), strict=True):
                if knee < DEEP:
                    deep.add(person)
                elif knee > UPRIGHT and person in deep:
                    deep.remove(person)
                    counts[person] = counts.get(person, 0) + 1
                    print(f"{frame.time:6.2f} s: person {person}, squat {counts[person]}")
    print(f"{sum(counts.values())} squats")


if __name__ == "__main__":
    main()
