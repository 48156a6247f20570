"""Steady keypoints: the One-Euro filter for every joint of every track at once.

Casiez, Roussel and Vogel: 1 Euro Filter, CHI 2012. Speeds are in body sizes a second, so that the same parameters hold
near to the camera and far from it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transpose_sdk.arrays import Bool, Float
from transpose_sdk.checks.ranges import ABOVE_0, FROM_0, check_ranges
from transpose_sdk.errors import InputError
from transpose_sdk.poses import TYPES, Poses, chosen
from transpose_sdk.scores import SCORE_FLOOR
from transpose_sdk.tracking.side_swaps import exchange, exchanged

# Joints of at least this raw score are followed at full speed; below, the filter leans on what it knows. Raw, as
# SCORE_FLOOR: an eye off by more than its small OKS radius is not to be believed, and yet to be followed.
CERTAIN_SCORE = 0.5
# Seconds after which the motion of a joint that is no longer seen has died away.
MOTION_TIME = 0.1


@dataclass(frozen=True)
class SmoothingOptions:
    """Parameters of the filter, named as in its paper.

    Attributes:
        min_cutoff: Cut-off frequency in Hz for a joint at rest: lower is steadier and lags more.
        beta: Hz by which the cut-off rises for each body size a second of speed: higher lags less.
        d_cutoff: Cut-off frequency in Hz of the speed itself.
        bridge: Seconds for which a joint or a person that is not seen is carried on as predicted.
        sides: Seconds for which a left and a right joint that change places from one frame to the next are put back:
            networks exchange the legs of who walks by, and the filter would draw both to the middle. If they stay
            exchanged for longer they are believed, at once and not through the middle. 0 believes them always.

    The defaults were picked with examples/benchmarks/stream_steadiness.py: 3.9 times less jitter at 43 ms of lag on a
    walk at 30 frames a second, 5.0 times less at 38 ms on two people at 60 (docs/measurements/streaming.md).
    """

    min_cutoff: float = 1.5
    beta: float = 1.5
    d_cutoff: float = 1.0
    bridge: float = 0.25
    sides: float = 0.3

    def __post_init__(self) -> None:
        check_ranges(self, min_cutoff=ABOVE_0, d_cutoff=ABOVE_0, beta=FROM_0, bridge=FROM_0, sides=FROM_0)


@dataclass(frozen=True, eq=False)
class _State:
    """What the filter knows of T tracks after a frame.

    Attributes:
        poses: (T) as they were given out, with their ids.
        time: (T,) seconds, when last seen.
        size: (T,) px, of the body.
        velocity: (T, K, 2) px a second, filtered.
        seen: (T, K) seconds, when each joint was last seen; -inf if it isn't followed.
        scores: (T, K) of each joint when last seen.
        exchanged: (T, P) seconds, since when each pair of a left and a right joint has been put back; nan if it isn't.
    """

    poses: Poses
    time: NDArray[np.float64]
    size: Float
    velocity: Float
    seen: NDArray[np.float64]
    scores: Float
    exchanged: NDArray[np.float64]


class PoseSmoother:
    """Smooths the poses of a stream.

    Args:
        options: What it goes by; the defaults of `SmoothingOptions` if None.
    """

    def __init__(self, options: SmoothingOptions | None = None) -> None:
        self.options = options or SmoothingOptions()
        self._state: _State | None = None

    def end_tracks(self) -> None:
        """Forget everybody: another scene begins, and nobody is carried on into it."""
        self._state = None

    def __call__(self, poses: Poses, time: float) -> tuple[Poses, Bool]:
        """Smooth the next frame's poses.

        Args:
            poses: With track ids.
            time: Of the frame in seconds, later than that of the last one.

        Returns:
            The poses with smooth keypoints, followed by those of people who are not seen for the moment; and (N, K),
            which keypoints are predicted. A predicted joint's score fades from its last one to 0 over the bridge.

        Raises:
            InputError: The poses have no track ids.
        """
        if poses.track_ids is None:
            raise InputError("smoothing goes by track: give poses with track_ids, as a Tracker returns them")
        old = self._state or _new_state(poses[:0], time)
        old_ids = np.zeros(0, np.int64) if old.poses.track_ids is None else old.poses.track_ids
        same = poses.track_ids[:, None] == old_ids
        here, there = np.nonzero(same)
        state = _new_state(poses, time)
        predicted: Bool = np.zeros_like(poses.scores, np.bool_)
        if len(here):
            predicted[here] = self._filter(state, old, here, there, time)
        gone = np.flatnonzero(~same.any(axis=0))
        gone = gone[time - old.time[gone] <= self.options.bridge]
        if len(gone):
            state = _joined(state, _rows(old, gone))
            predicted = np.concatenate((predicted, np.ones((len(gone), predicted.shape[1]), bool)))
        self._state = state
        # The caller may write into what it gets: the filter goes on from its own, but for the attention, 0.4 MB each.
        shown = replace(state.poses, **{name: getattr(state.poses, name).copy() for name in TYPES})
        if len(gone):
            self._carry_on(shown, state, len(poses), time)
        return shown, predicted

    def _filter(self, new: _State, old: _State, here: NDArray[np.intp], there: NDArray[np.intp], time: float) -> Bool:
        """Filter rows `here` of the new state with rows `there` of the old one, in place; the predicted joints."""
        options = self.options
        old = _rows(old, there)
        interval = np.maximum(time - old.time, 1e-6).astype(np.float32)
        size = old.size + _gain(np.float32(1.0), interval) * (new.size[here] - old.size)
        step = interval[:, None]
        measured, scores, raw = (
            values[here] for values in (new.poses.keypoints, new.poses.scores, new.poses.raw_scores)
        )
        before, motion, last, last_scores = old.poses.keypoints, old.velocity, old.seen, old.scores
        if options.sides:
            new.exchanged[here], put_back, believed = self._sides(measured, raw, old, time)
            skeleton = new.poses.skeleton
            measured, scores, raw = (exchange(values, put_back, skeleton) for values in (measured, scores, raw))
            new.poses.raw_scores[here] = raw
            before, motion, last, last_scores = (
                exchange(values, believed, skeleton) for values in (before, motion, last, last_scores)
            )
        seen, followed = raw > SCORE_FLOOR, np.isfinite(last)

        velocity = motion + _gain(np.float32(options.d_cutoff), step)[..., None] * (
            (measured - before) / step[..., None] - motion
        )
        speed = np.linalg.norm(velocity, axis=2) / size[:, None]
        certainty = np.clip(raw / CERTAIN_SCORE, 0.1, 1)
        gain = _gain((options.min_cutoff + options.beta * speed) * certainty, step)[..., None]
        smooth = before + gain * (measured - before)

        faded = motion * np.exp(-interval / MOTION_TIME)[:, None, None]
        carried_on = before + faded * step[..., None]
        waited = time - last
        predicted = ~seen & followed & (waited <= options.bridge)
        both = seen & followed
        filtered, carried = both[..., None], predicted[..., None]
        new.poses.keypoints[here] = np.where(filtered, smooth, np.where(carried, carried_on, measured))
        new.velocity[here] = np.where(filtered, velocity, np.where(carried, faded, 0))
        new.size[here] = size
        new.seen[here] = np.where(seen, time, np.where(predicted, last, -np.inf))
        new.scores[here] = np.where(seen, scores, last_scores)
        fading = last_scores * np.clip(1 - waited / max(options.bridge, 1e-6), 0, 1)
        new.poses.scores[here] = np.where(predicted, np.maximum(fading, scores), scores)
        return predicted

    def _sides(
        self, keypoints: Float, raw_scores: Float, old: _State, time: float
    ) -> tuple[NDArray[np.float64], Bool, Bool]:
        """(N, P): since when pairs are put back, which ones to put back now, and which to exchange in the old state."""
        interval = np.maximum(time - old.time, 1e-6).astype(np.float32)[:, None, None]
        expected = old.poses.keypoints + old.velocity * interval
        known = (raw_scores > SCORE_FLOOR) & np.isfinite(old.seen)
        changed, groups = exchanged(keypoints, expected, known, old.size, old.poses.skeleton)
        # One time for all of a group: pairs that are believed one after another would twist the body.
        first = np.where(groups, np.fmin(old.exchanged, time)[:, None], time).min(axis=2, initial=time)
        since = np.where(changed, first, np.nan)
        believed = changed & (time - since >= self.options.sides)
        since[believed] = np.nan
        return since, changed & ~believed, believed

    def _carry_on(self, shown: Poses, state: _State, first: int, time: float) -> None:
        """Move the poses of a state's rows from `first` on, which were not seen, on to a time, in place."""
        waited = (time - state.time[first:]).astype(np.float32)[:, None, None]
        moved = state.velocity[first:] * MOTION_TIME * (1 - np.exp(-waited / MOTION_TIME))
        shown.keypoints[first:] += moved
        shown.boxes[first:, :2] += moved.mean(axis=1)
        shown.scores[first:] *= 1 - waited[:, 0] / max(self.options.bridge, 1e-6)


def _gain(cutoff: Any, interval: Any) -> Any:
    """The paper's alpha: the share of the way to the new value, for a cut-off in Hz and an interval in seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * interval))


def _new_state(poses: Poses, time: float) -> _State:
    """Tracks seen for the first time; the arrays that the filter writes are copies."""
    seen = np.where(poses.raw_scores > SCORE_FLOOR, time, -np.inf)
    return _State(
        poses=replace(
            poses, keypoints=poses.keypoints.copy(), scores=poses.scores.copy(), raw_scores=poses.raw_scores.copy()
        ),
        time=np.full(len(poses), time),
        size=np.maximum(poses.boxes[:, 2:].max(axis=1, initial=1), 1),
        velocity=np.zeros_like(poses.keypoints),
        seen=seen,
        scores=poses.scores.copy(),
        exchanged=np.full((len(poses), len(poses.skeleton.flip_pairs)), np.nan),
    )


def _rows(state: _State, rows: NDArray[np.intp]) -> _State:
    arrays = {field.name: getattr(state, field.name)[rows] for field in fields(state) if field.name != "poses"}
    return _State(poses=chosen(state.poses, rows), **arrays)


def _joined(state: _State, other: _State) -> _State:
    """Two states behind each other."""
    arrays = {
        field.name: np.concatenate((getattr(state, field.name), getattr(other, field.name)))
        for field in fields(state)
        if field.name != "poses"
    }
    return _State(poses=Poses.concatenate((state.poses, other.poses)), **arrays)
