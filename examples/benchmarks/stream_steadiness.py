"""How much jitter the smoothing takes away, and what lag it costs.

    python examples/benchmarks/stream_steadiness.py clip.mp4 [more.mp4 ...]

Each clip runs once through the stream without smoothing; the filter then runs over what came out with many parameters.
Jitter is the rms acceleration of all confident joints in person heights / s^2, true motion included. Lag is the delay
that fits the smoothed joints best to a zero-phase reference (Butterworth at 6 Hz, forwards and backwards), in ms.
Astray is the share of smoothed joints that lie more than 0.05 person heights from the network's left one and from its
right one: where it exchanges them for a moment, a filter that believes it draws both to the middle.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt

import transpose_sdk as tp
from transpose_sdk.bundles.bundle import DEFAULT_MODEL
from transpose_sdk.media.sources import open_source
from transpose_sdk.poses import Poses
from transpose_sdk.tracking.smoothing import PoseSmoother, SmoothingOptions

REFERENCE_HZ = 6.0
SHORTEST = 30  # frames that a track has to last to be measured
LAGS = np.arange(-20, 151, 1) / 1000


@dataclass(frozen=True)
class Clip:
    """What the stream gave for a clip, before smoothing: frame rate, times (T,) and the poses of each frame."""

    name: str
    fps: float
    times: list[float]
    poses: list[Poses]


def record(path: str, estimator: tp.PoseEstimator, frames: int | None) -> Clip:
    """Run a clip through the stream without smoothing."""
    source = open_source(path, stop=frames)
    with tp.PoseStream(source, estimator, smooth=False) as stream:
        pairs = [(frame.time, frame.poses) for frame in stream]
    return Clip(path, source.fps or 30.0, [time for time, _ in pairs], [poses for _, poses in pairs])


def smoothed(clip: Clip, options: SmoothingOptions) -> list[Poses]:
    """The clip's poses through the filter, without the people that it carries on."""
    smoother = PoseSmoother(options)
    return [smoother(poses, time)[0][: len(poses)] for poses, time in zip(clip.poses, clip.times, strict=True)]


def tracks_of(poses: list[Poses]) -> dict[int, tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Frames and joints (T, K, 3) with the person's height as the third number, of every long track without gaps."""
    found: dict[int, list[tuple[int, NDArray[np.float64]]]] = {}
    for index, people in enumerate(poses):
        for person in range(len(people)):
            height = np.full((people.scores.shape[1], 1), people.boxes[person, 3])
            row = np.concatenate((people.keypoints[person], height), axis=1).astype(np.float64)
            assert people.track_ids is not None
            found.setdefault(int(people.track_ids[person]), []).append((index, row))
    result = {}
    for track, rows in found.items():
        frames = np.array([index for index, _ in rows])
        runs = np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) != 1) + 1)
        longest = max(runs, key=len)
        if len(longest) >= SHORTEST:
            result[track] = frames[longest], np.array([rows[place][1] for place in longest])
    return result


def confident(clip: Clip, track: int, frames: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(K,): joints of a track that score more than 0.6 on 9 of 10 frames."""
    scores = []
    for index in frames:
        poses = clip.poses[index]
        assert poses.track_ids is not None
        scores.append(poses.scores[np.flatnonzero(poses.track_ids == track)[0]])
    return np.quantile(np.array(scores), 0.1, axis=0) > 0.6


def measure(clip: Clip, poses: list[Poses]) -> tuple[float, float]:
    """Jitter and lag (ms) of a clip's joints."""
    raw, result = tracks_of(clip.poses), tracks_of(poses)
    filter_ = butter(2, min(REFERENCE_HZ / (clip.fps / 2), 0.95))
    accelerations, errors = [], np.zeros(len(LAGS))
    for track, (frames, rows) in raw.items():
        joints = confident(clip, track, frames)
        if not joints.any():
            continue
        heights = np.median(rows[:, 0, 2])
        before, after = rows[:, joints, :2] / heights, result[track][1][:, joints, :2] / heights
        accelerations.append((np.diff(after, 2, axis=0) * clip.fps**2).ravel())
        reference = filtfilt(*filter_, before, axis=0)
        seconds = np.arange(len(before)) / clip.fps
        inside = (seconds > 0.5) & (seconds < seconds[-1] - 0.2)
        flat, wanted = reference.reshape(len(seconds), -1), after.reshape(len(seconds), -1)[inside]
        for place, lag in enumerate(LAGS):
            delayed = np.array([np.interp(seconds[inside] - lag, seconds, joint) for joint in flat.T]).T
            errors[place] += ((wanted - delayed) ** 2).sum()
    jitter = float(np.sqrt(np.mean(np.concatenate(accelerations) ** 2)))
    return jitter, float(LAGS[errors.argmin()] * 1000)


def astray(clip: Clip, poses: list[Poses]) -> float:
    """Share of the joints of left and right that lie near neither of the network's two; those that it saw count."""
    far = []
    for raw, after in zip(clip.poses, poses, strict=True):
        mirrored = raw.skeleton.mirrored
        paired = (mirrored != np.arange(len(mirrored))) & (raw.scores > 0.6) & (raw.scores[:, mirrored] > 0.6)
        offsets = (
            np.linalg.norm(after.keypoints - places, axis=2) for places in (raw.keypoints, raw.keypoints[:, mirrored])
        )
        far.append((np.minimum(*offsets) > 0.05 * raw.boxes[:, 3:])[paired])
    return float(np.concatenate(far).mean())


def main() -> None:
    """Print a table for each clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--detector", default="person")
    parser.add_argument("--frames", type=int, help="of each clip")
    parser.add_argument("--min-cutoff", type=float, nargs="+", default=[0.5, 1.0, 1.5, 2.0])
    parser.add_argument("--beta", type=float, nargs="+", default=[2.0, 4.0, 8.0, 16.0])
    parser.add_argument("--d-cutoff", type=float, nargs="+", default=[1.0])
    args = parser.parse_args()
    out = sys.stdout.write
    with tp.PoseEstimator(args.model, detector=args.detector) as estimator:
        clips = [record(path, estimator, args.frames) for path in args.clips]
    for clip in clips:
        jitter, lag = measure(clip, clip.poses)
        out(
            f"\n{clip.name}, {len(clip.times)} frames, {clip.fps:.0f} fps; raw: jitter {jitter:.2f}, lag {lag:.0f} ms\n"
        )
        out("min_cutoff  beta  d_cutoff  jitter  ratio  lag ms\n")
        for options in itertools.product(args.min_cutoff, args.beta, args.d_cutoff):
            after, lag = measure(clip, smoothed(clip, SmoothingOptions(*options)))
            out("{:10.2f}{:6.1f}{:10.1f}".format(*options) + f"{after:8.2f}{jitter / after:7.1f}{lag:8.0f}\n")
        for sides in (0.0, SmoothingOptions.sides):
            share = astray(clip, smoothed(clip, SmoothingOptions(sides=sides)))
            out(f"astray with the defaults and sides={sides}: {100 * share:.2f} %\n")


if __name__ == "__main__":
    main()
