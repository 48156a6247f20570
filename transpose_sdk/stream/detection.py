"""Where to look for people: boxes carried on from the tracks, and the detector when they may not be enough."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Float
from transpose_sdk.boxes import box_iou
from transpose_sdk.checks.ranges import FROM_0, SHARE, Range, check_ranges
from transpose_sdk.detectors import Detector
from transpose_sdk.tracking.tracker import TrackingOptions, Tracks

# Correlation of two frames of one scene, however it is lit: neighbours in five clips have .78 and more, .90 where
# one of them is made .4 or 1.6 times as bright. Frames of two different clips have -.18 to .41.
SAME_SCENE = 0.6
SAMPLES = 48  # along each side of a frame, to tell whether the scene changed


@dataclass(frozen=True)
class DetectionOptions:
    """Options of the detector's use.

    Attributes:
        shortest: Seconds between two regular detections while new people keep coming.
        longest: The same while nobody new comes; each detection that finds nobody new brings it 1.5 times nearer.
        score_drop: Share of its usual raw score that a person has to keep, or the detector looks again.
        scene_change: Mean difference of the grey levels (0..255) of two frames that makes it another scene.
        overlap: IoU from which a detected box takes a carried one's place. Below it both are posed, and the worse of
            two poses of one person is dropped: a low value loses people whom the detector sees as one.
        coast: Seconds for which a lost track's box is still tried.
        unseen: Share of its score that a carried box keeps when the detector looks and finds nobody there. A pose that
            drifted off its person falls below the tracker's `keep_score` with the next look or two; one whose joints
            are sure outlives a detector that misses it once or twice.
    """

    shortest: float = 0.2
    longest: float = 0.5
    score_drop: float = 0.7
    scene_change: float = 25.0
    overlap: float = 0.57
    coast: float = 0.3
    unseen: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, shortest=FROM_0, longest=Range(self.shortest), score_drop=SHARE, scene_change=FROM_0)
        check_ranges(self, overlap=SHARE, coast=FROM_0, unseen=SHARE)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes worth a pose.

    Attributes:
        boxes: (N, 4) float32, x, y, width, height in px, each overlapping the image.
        scores: (N,) float32, of the detections that they go back to, less for each look since that found nobody there.
        reason: Why the detector ran, None where it did not.
        cut: Whether this is another scene than the frame before, so that nobody is who they were.
    """

    boxes: Float
    scores: Float
    reason: str | None
    cut: bool = False


class BoxFinder:
    """Decides for every frame where to look.

    Args:
        detector: For the whole frame.
        options: When to look.
        tracking: The tracker's options.
    """

    def __init__(self, detector: Detector, options: DetectionOptions, tracking: TrackingOptions) -> None:
        self._detector = detector
        self._options = options
        self._motion_time = tracking.motion_time
        self._interval = options.shortest
        self._looks = deque([-np.inf], maxlen=16)  # times of the last detections
        self._strangers = np.zeros((0, 4), np.float32)  # boxes of the last detection that no track had
        self._sample: NDArray[np.int16] | None = None
        self._cut = -np.inf  # time of the last frame of a new scene

    def __call__(self, image: NDArray[np.uint8], time: float, tracks: Tracks | None) -> Candidates:
        """The boxes for a frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            time: Of the frame in seconds.
            tracks: The newest there are; a few frames old while those are in the network. None runs the detector.
        """
        if tracks is None:
            return Candidates(*self._detector(image), "always")
        options = self._options
        change, cut = self._compared(image)
        if cut:
            self._cut = time
            self._interval = options.shortest
            self._strangers = self._strangers[:0]
        if tracks.time < self._cut:  # of the scene before
            tracks = tracks[:0]
        tried = tracks[(time - tracks.seen <= options.coast) | ~tracks.lost]
        boxes = tried.boxes(time, self._motion_time)
        near = _overlapping(boxes, image.shape[:2])
        # Whoever was lost on a frame of a look was not found by it; the track keeps the score of the frame before.
        doubt = np.where(np.isin(tried.missed, self._looks), options.unseen, 1).astype(np.float32)
        boxes, scores = boxes[near], (doubt * tried.box_scores)[near]
        reason = "scene" if change else self._reason(time, tracks)
        if reason is None:
            return Candidates(boxes, scores, None)
        found, found_scores = self._detector(image)
        strange = box_iou(found, boxes).max(axis=1, initial=0) < options.overlap
        # What was strange before and still has no track is no person whom the network could pose.
        again = box_iou(found, self._strangers).max(axis=1, initial=0) >= options.overlap
        somebody_new = bool((strange & ~again).any())
        self._strangers = found[strange]
        self._interval = options.shortest if somebody_new else min(1.5 * self._interval, options.longest)
        self._looks.append(time)
        # Detections have seen this frame, carried boxes have not. Doubles among them are the detector's affair.
        free = box_iou(boxes, found).max(axis=1, initial=0) < options.overlap
        scores = np.concatenate((found_scores, options.unseen * scores[free]))
        return Candidates(np.concatenate((found, boxes[free])), scores, reason, cut)

    def _reason(self, time: float, tracks: Tracks) -> str | None:
        """Why to run the detector on a frame of the same scene, if at all."""
        options = self._options
        if (tracks.missed[tracks.confirmed] > self._looks[-1]).any():
            return "lost"
        if tracks.lost.all():
            return "start"
        waited = time - self._looks[-1]
        fell = tracks.raw_person_scores < options.score_drop * tracks.usual_scores
        if waited >= options.shortest and (fell & tracks.confirmed & ~tracks.lost).any():
            return "score"
        return "interval" if waited >= self._interval else None

    def _compared(self, image: NDArray[np.uint8]) -> tuple[bool, bool]:
        """Whether the frame differs much from the last one, or has another size; and whether it shows another scene."""
        rows, columns = (max(1, side // SAMPLES) for side in image.shape[:2])
        sample = image[::rows, ::columns, 1].astype(np.int16)
        last, self._sample = self._sample, sample
        if last is None or last.shape != sample.shape:
            return last is not None, last is not None
        change = float(np.abs(sample - last).mean()) > self._options.scene_change
        return change, change and _likeness(sample, last) < SAME_SCENE


def _likeness(sample: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Correlation of two frames' grey levels; 0 where one of them is flat."""
    first, second = (values - values.mean() for values in (sample, other))
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / norm if norm > 0 else 0.0


def _overlapping(boxes: Float, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,): boxes of at least 4 px that lie in an image of (height, width) with a fifth of their area."""
    low = np.maximum(boxes[:, :2], 0)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], np.array(size[::-1], np.float32))
    inside = np.maximum(high - low, 0).prod(axis=1)
    return (boxes[:, 2:] >= 4).all(axis=1) & (inside >= 0.2 * boxes[:, 2:].prod(axis=1))
