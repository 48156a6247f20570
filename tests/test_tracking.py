"""Tracking: ids that last through crossings, gaps and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blob_people import joints_of

from transpose_sdk.boxes import box_iou, pose_boxes
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17
from transpose_sdk.tracking.tracker import Tracker, TrackingOptions

FPS = 25.0


def poses_at(*people: tuple[float, float] | tuple[float, float, float], size: tuple[float, float] = (60, 150)) -> Poses:
    """People at x, y with an optional score."""
    boxes = np.array([(person[0], person[1], *size) for person in people], np.float32).reshape(-1, 4)
    joints = [joints_of(tuple(box)) for box in boxes.tolist()]
    scores = np.array([person[2] if len(person) == 3 else 0.9 for person in people], np.float32)
    return Poses(
        keypoints=np.array(joints, np.float32).reshape(-1, 17, 2),
        scores=np.repeat(scores[:, None], 17, 1),
        boxes=boxes,
        person_scores=scores,
        skeleton=COCO17,
    )


def ids_by_x(poses: Poses) -> list[int]:
    assert poses.track_ids is not None
    return poses.track_ids[np.argsort(poses.boxes[:, 0])].tolist()


def test_the_first_frame_needs_no_confirmation_and_later_births_do() -> None:
    tracker = Tracker(COCO17, TrackingOptions(confirm=3))
    shown = []
    for index in range(6):
        people = [(10.0 + index, 0.0)] if index < 2 else [(10.0 + index, 0.0), (300.0, 0.0)]
        shown.append(ids_by_x(tracker.update(poses_at(*people), index / FPS)))
    assert shown == [[1], [1], [1], [1], [1, 2], [1, 2]]


@pytest.mark.parametrize("gap", [0, 10])  # frames around the crossing on which one hides the other
def test_ids_survive_a_crossing(gap: int) -> None:
    tracker = Tracker(COCO17)
    rng = np.random.default_rng(0)
    ids = {}
    for index in range(100):
        left, right = (index * 4.0, 20.0), (400.0 - index * 4.0, 35.0)
        people = [left] if abs(index - 50) < gap / 2 else [left, right]
        poses = poses_at(*people)
        poses.keypoints[:] += rng.normal(0, 1.5, poses.keypoints.shape)
        result = tracker.update(poses, index / FPS)
        ids[index] = {round(float(box[1])): int(i) for box, i in zip(result.boxes, result.track_ids, strict=True)}
    assert ids[0] == ids[99] == {20: ids[0][20], 35: ids[0][35]}
    assert {frozenset(pairs.items()) for pairs in ids.values()} <= {
        frozenset(ids[0].items()), frozenset({(20, ids[0][20])})
    }  # fmt: skip


def test_a_lost_track_comes_back_within_the_timeout_and_never_later() -> None:
    def ids_after(pause: float) -> list[int]:
        tracker = Tracker(COCO17, TrackingOptions(timeout=1.0))
        for index in range(10):
            tracker.update(poses_at((100.0, 0.0)), index / FPS)
        time = 9 / FPS
        for index in range(5):
            time += pause if index == 0 else 1 / FPS
            result = tracker.update(poses_at((104.0, 0.0)), time)
        return ids_by_x(result)

    assert ids_after(0.9) == [1]
    assert ids_after(1.1) == [2]


def test_no_id_is_used_twice() -> None:
    tracker = Tracker(COCO17, TrackingOptions(timeout=0.1, confirm=1))
    seen: list[int] = []
    for index in range(0, 200, 10):
        for step in range(3):
            poses = tracker.update(poses_at((37.0 * index, 0.0)), (index + step) / FPS)
        seen += ids_by_x(poses)
    assert len(seen) == len(set(seen)) == 20
    assert len(tracker.tracks) <= 2  # the dead are forgotten


@pytest.mark.parametrize("step", [1, 3, 8])  # frames between two updates: a stream that drops frames
def test_a_walker_keeps_the_id_at_any_rate(step: int) -> None:
    tracker = Tracker(COCO17)
    ids = [ids_by_x(tracker.update(poses_at((index * 5.0, 0.0)), index / FPS)) for index in range(0, 120, step)]
    assert ids == [[1]] * len(ids)


def test_nobody_is_shown_twice() -> None:
    tracker = Tracker(COCO17)
    for index in range(10):
        result = tracker.update(poses_at((10.0, 0.0, 0.9), (12.0, 1.0, 0.8)), index / FPS)
    assert ids_by_x(result) == [1]


def test_weak_poses_carry_tracks_on_but_start_none() -> None:
    tracker = Tracker(COCO17, TrackingOptions(birth_score=0.5, keep_score=0.2))
    assert ids_by_x(tracker.update(poses_at((10.0, 0.0, 0.9), (300.0, 0.0, 0.4)), 0.0)) == [1]
    assert ids_by_x(tracker.update(poses_at((10.0, 0.0, 0.3), (300.0, 0.0, 0.4)), 0.04)) == [1]
    assert ids_by_x(tracker.update(poses_at((10.0, 0.0, 0.1), (300.0, 0.0, 0.4)), 0.08)) == []


def test_people_are_judged_by_probability_and_their_joints_by_what_the_network_saw() -> None:
    """A joint that is likely off by more than its OKS radius still says where its person is."""
    tracker = Tracker(COCO17)
    poses = poses_at((10.0, 0.0, 0.1))  # probabilities
    raw = np.full((1, 17), 0.6, np.float32)
    seen = replace(poses, person_scores=np.float32([0.9]), raw_scores=raw)
    assert ids_by_x(tracker.update(seen, 0.0)) == [1]
    np.testing.assert_array_equal(tracker.tracks.raw_scores, raw)
    np.testing.assert_array_equal(pose_boxes(seen), pose_boxes(poses_at((10.0, 0.0))))
    doubtful = replace(seen, person_scores=np.float32([0.01]), raw_person_scores=np.float32([0.6]))
    assert ids_by_x(tracker.update(doubtful, 0.04)) == []


def test_boxes_are_predicted_from_the_motion_which_dies_away() -> None:
    tracker = Tracker(COCO17)
    for index in range(25):
        tracker.update(poses_at((index * 4.0, 0.0)), index / FPS)
    tracks, now = tracker.tracks, 24 / FPS
    motion_time = tracker.options.motion_time
    today, soon, late, later = (tracks.boxes(now + wait, motion_time)[0, 0] for wait in (0, 1 / FPS, 5, 50))
    assert soon - today == pytest.approx(4.0, abs=0.3)
    assert later == pytest.approx(late, abs=0.1)
    # A little more than the true speed, for each prediction is damped.
    np.testing.assert_allclose(tracks.velocities[0], (4.0 * FPS, 0), atol=6)


def test_snapshots_of_the_tracks_never_change() -> None:
    tracker = Tracker(COCO17)
    tracker.update(poses_at((10.0, 0.0)), 0.0)
    snapshot = tracker.tracks
    before = {name: np.copy(value) for name, value in vars(snapshot).items()}
    for index in range(1, 5):
        tracker.update(poses_at((10.0 + 9 * index, 0.0)), index / FPS)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(snapshot, name), value)


def test_frames_without_people() -> None:
    tracker = Tracker(COCO17)
    empty = Poses.empty(COCO17)
    for index, poses in enumerate((empty, poses_at((10.0, 0.0)), empty, empty)):
        result = tracker.update(poses, index / FPS)
        assert result.track_ids is not None
        assert result.track_ids.dtype == np.int64
    assert len(result) == 0


def test_pose_boxes_hold_the_confident_keypoints_with_a_margin() -> None:
    poses = poses_at((100.0, 50.0), (300.0, 50.0))
    poses.scores[1, 3:] = 0.1  # too few joints: the box that the pose was found in stays
    boxes = pose_boxes(poses)
    low, high = poses.keypoints[0].min(0), poses.keypoints[0].max(0)
    assert (boxes[0, :2] < low).all()
    assert (boxes[0, :2] + boxes[0, 2:] > high).all()
    np.testing.assert_array_equal(boxes[1], poses.boxes[1])


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 10, 10), 1 / 3),  # half of each
        ((0, 0, 10, 10), (10, 0, 10, 10), 0.0),  # side by side
        ((0, 0, 10, 10), (2, 2, 5, 5), 0.25),  # one inside the other
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),  # no area
    ],
)
def test_box_iou(one: tuple[float, ...], two: tuple[float, ...], expected: float) -> None:
    result = box_iou(np.array([one], np.float32), np.array([two], np.float32))
    assert result[0, 0] == pytest.approx(expected, abs=1e-6)
