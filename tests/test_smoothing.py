"""Smoothing: the One-Euro filter of all joints at once against the paper's, one value at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from blob_people import joints_of

from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17
from transpose_sdk.tracking.smoothing import PoseSmoother, SmoothingOptions

SIZE = 200.0


def poses_of(keypoints: np.ndarray, ids: list[int], scores: np.ndarray | float = 0.9, size: float = SIZE) -> Poses:
    """Poses with keypoints (N, 17, 2) of people of one size."""
    count = len(keypoints)
    return Poses(
        keypoints=np.asarray(keypoints, np.float32),
        scores=np.broadcast_to(np.asarray(scores, np.float32), (count, 17)).copy(),
        boxes=np.tile(np.float32([0, 0, size / 2, size]), (count, 1)),
        person_scores=np.full(count, 0.9, np.float32),
        skeleton=COCO17,
        track_ids=np.array(ids, np.int64),
    )


def paper_filter(points: np.ndarray, times: np.ndarray, options: SmoothingOptions) -> np.ndarray:
    """Algorithm 1 of the paper for one joint (T, 2); the speed is that of the point, in sizes a second."""

    def alpha(cutoff: float, interval: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * cutoff) / interval)

    smooth, velocity, result = points[0].copy(), np.zeros(2), [points[0].copy()]
    for index in range(1, len(points)):
        interval = times[index] - times[index - 1]
        measured = (points[index] - smooth) / interval
        velocity = velocity + alpha(options.d_cutoff, interval) * (measured - velocity)
        cutoff = options.min_cutoff + options.beta * float(np.hypot(*velocity)) / SIZE
        smooth = smooth + alpha(cutoff, interval) * (points[index] - smooth)
        result.append(smooth.copy())
    return np.array(result)


def run(points: np.ndarray, times: np.ndarray, options: SmoothingOptions, size: float = SIZE) -> np.ndarray:
    """Smooth one person's keypoints (T, 17, 2)."""
    smoother = PoseSmoother(options)
    return np.array([
        smoother(poses_of(frame[None], [1], size=size), time)[0].keypoints[0]
        for frame, time in zip(points, times, strict=True)
    ])  # fmt: skip


@pytest.fixture
def motion() -> tuple[np.ndarray, np.ndarray]:
    """Joints that rest, then move, at uneven times: (T, 17, 2) px and (T,) s."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.08, 80))
    path = np.cumsum(rng.normal(0, 3, (80, 17, 2)) + (times > 2)[:, None, None] * 8, axis=0) + 300
    return path, times


def test_the_filter_is_the_papers(motion: tuple[np.ndarray, np.ndarray]) -> None:
    path, times = motion
    options = SmoothingOptions(min_cutoff=0.7, beta=2.0, d_cutoff=1.3)
    smooth = run(path, times, options)
    for joint in range(17):
        np.testing.assert_allclose(smooth[:, joint], paper_filter(path[:, joint], times, options), atol=0.02)


def test_a_person_twice_as_large_is_smoothed_the_same(motion: tuple[np.ndarray, np.ndarray]) -> None:
    path, times = motion
    np.testing.assert_allclose(
        run(2 * path, times, SmoothingOptions(), 2 * SIZE), 2 * run(path, times, SmoothingOptions()), rtol=1e-4
    )


def test_people_are_smoothed_by_id_whatever_their_order(motion: tuple[np.ndarray, np.ndarray]) -> None:
    path, times = motion
    other = path[::-1] + 500
    alone, other_alone = run(path, times, SmoothingOptions()), run(other, times, SmoothingOptions())
    smoother = PoseSmoother()
    for index, time in enumerate(times):
        order = [0, 1] if index % 2 else [1, 0]
        both = poses_of(np.array([path[index], other[index]])[order], [[7, 3][i] for i in order])
        result, _ = smoother(both, float(time))
        np.testing.assert_array_equal(result.track_ids, both.track_ids)
        np.testing.assert_allclose(result.keypoints[order.index(0)], alone[index], rtol=1e-5)
        np.testing.assert_allclose(result.keypoints[order.index(1)], other_alone[index], rtol=1e-5)


def test_a_resting_joint_gets_steady_and_a_step_is_followed() -> None:
    rng = np.random.default_rng(1)
    times = np.arange(120) / 30
    path = np.full((120, 17, 2), 100.0) + rng.normal(0, 2, (120, 17, 2))
    path[60:] += 80
    smooth = run(path, times, SmoothingOptions())
    assert smooth[30:60].std(0).mean() < 0.5 * path[30:60].std(0).mean()
    assert np.abs(smooth[70:] - 180).max() < 16  # a fifth of the step is left after a third of a second


def test_doubtful_joints_weigh_less() -> None:
    def moved(score: float) -> float:
        smoother = PoseSmoother(SmoothingOptions(beta=0))
        smoother(poses_of(np.zeros((1, 17, 2)), [1]), 0.0)
        poses, _ = smoother(poses_of(np.full((1, 17, 2), 10.0), [1], scores=score), 0.03)
        return float(poses.keypoints[0, 0, 0])

    assert 0 < moved(0.25) < 0.7 * moved(0.9) < 7


def test_a_gap_of_a_joint_is_bridged_for_a_stated_time_and_marked() -> None:
    smoother = PoseSmoother(SmoothingOptions(bridge=0.2, min_cutoff=50))
    scores = np.full(17, 0.9)
    for index in range(20):
        keypoints = np.full((1, 17, 2), 6.0 * index)
        hidden = index >= 10
        scores[5] = 0.05 if hidden else 0.9
        if hidden:
            keypoints[0, 5] = (-500, 900)  # what a network says of a joint that it does not see
        poses, predicted = smoother(poses_of(keypoints, [1], scores), index / 30)
        assert not predicted[0, np.arange(17) != 5].any()
        waited = (index - 9) / 30
        if hidden and waited <= 0.2:
            assert predicted[0, 5]
            # carried on along its motion, with a score that fades
            assert 54 <= poses.keypoints[0, 5, 0] < 54 + 6 * (index - 9)
            assert poses.scores[0, 5] == pytest.approx(max(0.9 * (1 - waited / 0.2), 0.05), abs=1e-5)
        else:
            assert not predicted[0, 5]
            np.testing.assert_allclose(poses.keypoints[0, 5], keypoints[0, 5], atol=1)


def test_a_person_who_is_not_seen_is_carried_on_for_a_stated_time() -> None:
    smoother = PoseSmoother(SmoothingOptions(bridge=0.2))
    counts, starts = [], []
    nobody = replace(Poses.empty(COCO17), track_ids=np.zeros(0, np.int64))
    for index in range(20):
        there = index < 10 or index >= 18
        poses = poses_of(np.full((1, 17, 2), 5.0 * index), [4]) if there else nobody
        result, predicted = smoother(poses, index / 30)
        counts.append(len(result))
        starts.append(bool(predicted.all()) if len(result) else None)
        if len(result):
            assert result.track_ids.tolist() == [4]
    assert counts == [1] * 16 + [0, 0, 1, 1]
    assert starts == [False] * 10 + [True] * 6 + [None, None, False, False]


def test_what_is_done_to_the_result_does_not_reach_the_filter(motion: tuple[np.ndarray, np.ndarray]) -> None:
    """Whoever scales or moves the poses of a frame in place leaves those of the next one as they are."""
    noisy, times = motion
    careful, careless = PoseSmoother(), PoseSmoother()
    for keypoints, time in zip(noisy[:20], times[:20], strict=True):
        expected, _ = careful(poses_of(keypoints[None], [1]), time)
        given, _ = careless(poses_of(keypoints[None], [1]), time)
        for name in ("keypoints", "scores", "boxes", "person_scores", "track_ids"):
            np.testing.assert_array_equal(getattr(given, name), getattr(expected, name))
            getattr(given, name)[:] = 0


def test_what_is_given_is_not_changed() -> None:
    smoother = PoseSmoother()
    keypoints = np.zeros((1, 17, 2))
    for index in range(3):
        poses = poses_of(keypoints + 10 * index, [1])
        before = poses.keypoints.copy()
        smoother(poses, index / 30)
        np.testing.assert_array_equal(poses.keypoints, before)


@pytest.mark.parametrize(
    "options", [{"min_cutoff": 0}, {"d_cutoff": -1}, {"beta": -0.1}, {"bridge": float("nan")}, {"sides": -1}]
)
def test_parameters_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        SmoothingOptions(**options)


def test_poses_without_ids_are_refused() -> None:
    with pytest.raises(InputError, match="track_ids"):
        PoseSmoother()(Poses.empty(COCO17), 0.0)


def side_view(frames: int, exchanged: range, apart: float = 60.0) -> np.ndarray:
    """A person who stands with the left half before the right, whose network exchanges all pairs in some frames."""
    points = np.zeros((frames, 17, 2), np.float32)
    points[:, :, 1] = 10 * np.arange(17)
    for left, right in COCO17.flip_pairs:
        points[:, left, 0], points[:, right, 0] = 100 + apart, 100
    for frame in exchanged:
        points[frame] = points[frame, COCO17.mirrored]
    return points


LEFT, RIGHT = (np.array(side) for side in zip(*COCO17.flip_pairs, strict=True))


def test_sides_that_are_exchanged_for_a_moment_are_put_back() -> None:
    times = np.arange(30) / 30
    points = side_view(30, range(12, 18))
    kept = run(points, times, SmoothingOptions())
    np.testing.assert_allclose(kept, side_view(30, range(0)), atol=1e-3)
    dragged = run(points, times, SmoothingOptions(sides=0))
    assert np.abs(dragged[12:18, LEFT, 0] - 160).max() > 20


def test_sides_that_stay_exchanged_are_believed_at_once() -> None:
    points = side_view(40, range(12, 40))
    smoother, given = PoseSmoother(SmoothingOptions(sides=0.3)), []
    for index, frame in enumerate(points):
        shown, _ = smoother(poses_of(frame[None], [1]), index / 30)
        given.append((shown.keypoints, shown.keypoints.copy()))
    left = np.array([keypoints[0, LEFT, 0] for keypoints, _ in given])
    believed = int(np.argmax(left[:, 0] < 110))
    assert believed in (21, 22)  # 0.3 s after frame 12, up to rounding
    np.testing.assert_allclose(left[:believed], 160, atol=1e-3)
    np.testing.assert_allclose(left[believed:], 100, atol=1e-3)
    for keypoints, then in given:  # what was handed out stays as it was
        np.testing.assert_array_equal(keypoints, then)


def test_legs_that_pass_each_other_keep_their_names() -> None:
    times = np.arange(60) / 30
    points = side_view(60, range(0))
    swing = 40 * np.cos(2 * np.pi * times)[:, None]
    points[:, LEFT, 0], points[:, RIGHT, 0] = 100 + swing, 100 - swing
    with_sides, without = run(points, times, SmoothingOptions()), run(points, times, SmoothingOptions(sides=0))
    np.testing.assert_array_equal(with_sides, without)


@pytest.mark.parametrize(("apart", "put_back"), [(2.0, True), (60.0, False)])
def test_exchanged_legs_are_put_back_where_the_hips_lie_on_each_other(apart: float, put_back: bool) -> None:
    """From the side legs are a group of their own; from the front half a body put back would be a twisted one."""
    times = np.arange(20) / 30
    points = side_view(20, range(0), apart)
    points[:, [13, 15], 0] = 160
    legs = [13, 14, 15, 16]
    points[10:12, legs] = points[10:12][:, COCO17.mirrored[legs]]
    smooth, believing = run(points, times, SmoothingOptions()), run(points, times, SmoothingOptions(sides=0))
    if put_back:
        np.testing.assert_allclose(smooth[:, [13, 15], 0], 160, atol=1e-3)
        np.testing.assert_allclose(smooth[:, [14, 16], 0], 100, atol=1e-3)
    else:
        np.testing.assert_array_equal(smooth, believing)


def test_joints_are_followed_by_what_the_network_saw(motion: tuple[np.ndarray, np.ndarray]) -> None:
    """Whatever the probability of a joint is: it is shown, and has no say in the filter."""
    points, times = motion
    smoothers = PoseSmoother(), PoseSmoother()
    for frame, time in zip(points, times, strict=True):
        sure = poses_of(frame[None], [1])
        doubtful = replace(sure, scores=np.full((1, 17), 0.1, np.float32))  # the raw scores are those of before
        (poses, _), (same, predicted) = smoothers[0](sure, time), smoothers[1](doubtful, time)
        np.testing.assert_array_equal(same.keypoints, poses.keypoints)
        np.testing.assert_array_equal(same.scores, doubtful.scores)
        np.testing.assert_array_equal(same.raw_scores, sure.scores)
        assert not predicted.any()


def test_raw_scores_change_sides_with_their_joints() -> None:
    """A left and a right leg that the network exchanges for a frame are put back with both of their scores."""
    smoother = PoseSmoother()
    points = joints_of((0, 0, 100, SIZE))
    scores, raw = np.linspace(0.5, 0.9, 17, dtype=np.float32)[None], np.linspace(0.6, 1, 17, dtype=np.float32)[None]
    for index in range(4):
        order = COCO17.mirrored if index == 3 else np.arange(17)
        given = replace(poses_of(points[order][None], [1], scores[:, order]), raw_scores=raw[:, order])
        shown, _ = smoother(given, index / 30)
    np.testing.assert_allclose(shown.keypoints[0], points, atol=0.5)
    np.testing.assert_array_equal(shown.scores, scores)
    np.testing.assert_array_equal(shown.raw_scores, raw)
