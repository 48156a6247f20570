"""Ids on a street with crossings: the tracker and the stream against plain IoU matching, on hand-checked people."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from blob_people import joints_of

from transpose_sdk.boxes import box_iou
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.poses import Poses
from transpose_sdk.scores import DEFAULT_MAPS
from transpose_sdk.skeletons import COCO17
from transpose_sdk.stream.detection import BoxFinder, DetectionOptions
from transpose_sdk.tracking.tracker import Tracker, TrackingOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "benchmarks"))
from track_identity import PEOPLE, Boxes, People, iou_tracks, score, stream_tracks, tracker_tracks


@pytest.fixture
def people() -> People:
    return People.read(PEOPLE)


def test_the_annotation_is_whole(people: People) -> None:
    assert people.stop - people.first >= 200
    for person, keys in people.keyframes.items():
        assert (np.diff(keys[:, 0]) > 0).all(), person
        assert people.first <= keys[0, 0] < keys[-1, 0] < people.stop
        assert (keys[:, 1:] >= 0).all(), person
        assert (keys[:, 1:3] + keys[:, 3:] <= (768, 576)).all(), person
    # Nobody is there twice; who stands behind another is seen from above, never in the very same box.
    for frame in range(people.first, people.stop):
        boxes = people.at(frame).boxes
        assert np.triu(box_iou(boxes, boxes), 1).max() < 0.9, frame


def test_people_between_keyframes() -> None:
    keys = {4: np.array([[10, 0, 0, 20, 40], [20, 100, 10, 20, 60]]), 5: np.array([[0, 5, 5, 9, 9], [30, 5, 5, 9, 9]])}
    people = People(0, 31, 10.0, keys, frozenset({5}))
    assert people.at(9).ids.tolist() == people.at(21).ids.tolist() == []
    assert people.at(15).ids.tolist() == [4]
    np.testing.assert_allclose(people.at(15).boxes, [[50, 5, 20, 50]])
    assert people.at(15, ignored=True).ids.tolist() == [5]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame, ids: ids, {"num_switches": 0, "mota": 1, "idf1": 1, "ids": 2}),
        # the two change their ids half way, once
        (lambda frame, ids: ids if frame < 20 else ids[::-1], {"num_switches": 2, "mota": 1 - 2 / 80, "idf1": 0.5}),
        # one of them gets a new id half way
        (lambda frame, ids: ids if frame < 20 else [ids[0], 7], {"num_switches": 1, "mota": 1 - 1 / 80, "ids": 3}),
    ],
)
def test_what_is_scored(change, expected) -> None:
    pytest.importorskip("motmetrics", reason="scoring ids needs motmetrics: pip install transpose-sdk[test]")
    boxes = np.float32([[0, 0, 20, 50], [100, 0, 20, 50], [300, 0, 20, 50]])
    keys = {row + 1: np.array([[0, *box], [39, *box]], np.float64) for row, box in enumerate(boxes)}
    people = People(0, 40, 10.0, keys, frozenset({3}))
    # The third is ignored: neither a false alarm nor missed.
    found = [Boxes(np.array([*change(frame, [1, 2]), 9]), boxes) for frame in range(40)]
    result = score(people, found)
    assert {name: result[name] for name in expected} == pytest.approx(expected)


def test_plain_iou_matching_follows_and_loses() -> None:
    def walk(step: float, gap: int) -> list[int]:
        frames = [np.float32([[step * index, 0, 20, 50]])[: index < 5 or index >= 5 + gap] for index in range(20)]
        return sorted({int(person) for each in iou_tracks(frames, 10.0) for person in each.ids})

    assert walk(3.0, 0) == [1]
    assert walk(15.0, 0) == list(range(1, 21))  # too far for IoU
    assert walk(0.0, 4) == [1]
    assert walk(0.0, 6) == [1, 2]  # longer than half a second


@dataclass(frozen=True)
class Finds:
    """A detector that always finds the same."""

    boxes: np.ndarray
    scores: np.ndarray
    name: str = "finds"

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.boxes, self.scores

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("shift", "kept"),
    [
        (0.0, 1),  # the detection takes the carried box's place
        (15.0, 1),  # IoU .60: a box around a pose fits loosely
        (25.0, 2),  # IoU .41: perhaps somebody else
        (40.0, 2),  # IoU .20: somebody else
    ],
)
def test_a_detection_takes_the_place_of_the_box_that_was_carried(shift: float, kept: int) -> None:
    carried, found = np.float32([[100, 50, 60, 150]]), np.float32([[100 + shift, 50, 60, 150]])

    tracker = Tracker(COCO17)
    nowhere = np.zeros((1, 17), np.float32)  # no joint is sure: the track keeps the box
    tracker.update(Poses(np.zeros((1, 17, 2), np.float32), nowhere, carried, np.float32([0.9]), COCO17), 0.0)
    finder = BoxFinder(Finds(found, np.float32([0.9])), DetectionOptions(), TrackingOptions())
    candidates = finder(np.zeros((300, 400, 3), np.uint8), 0.0, tracker.tracks)
    assert candidates.reason == "interval"
    assert len(candidates.boxes) == kept
    np.testing.assert_array_equal(candidates.boxes[0], found[0])
    np.testing.assert_allclose(candidates.scores, [0.9, 0.45][:kept])  # nobody was found where the carried box is


@pytest.mark.parametrize(("joint_score", "lives"), [(0.3, False), (0.8, True)])
def test_a_pose_that_drifted_off_its_person_ends_with_the_next_looks(joint_score: float, lives: bool) -> None:
    tracker, nobody = Tracker(COCO17), Finds(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    finder = BoxFinder(nobody, DetectionOptions(), TrackingOptions())
    image, joints = np.zeros((300, 400, 3), np.uint8), joints_of((100.0, 50.0, 60.0, 150.0))[None]
    # What the network answers does not change; the detector found the person once, with .7.
    boxes, box_scores, looks = np.float32([[100, 50, 60, 150]]), np.float32([0.7]), 0
    for time in np.arange(0, 0.4, 0.1):
        scores = np.full((len(boxes), 17), joint_score, np.float32)
        poses = Poses(joints[: len(boxes)], scores, boxes, DEFAULT_MAPS.detected(joint_score * box_scores), COCO17)
        shown = tracker.update(poses, float(time), box_scores)
        candidates = finder(image, float(time), tracker.tracks)
        looks += candidates.reason is not None
        boxes, box_scores = candidates.boxes[:1], candidates.scores[:1]
    assert looks >= 2
    assert len(shown) == lives


def test_a_look_that_found_nobody_is_not_forgotten_with_its_frame() -> None:
    """Of two people the detector sees one; the other's joints are unsure."""
    people = np.float32([[100, 50, 60, 150], [250, 50, 60, 150]])
    tracker, finder = (
        Tracker(COCO17),
        BoxFinder(Finds(people[:1], np.float32([0.9])), DetectionOptions(), TrackingOptions()),
    )
    joints, sure = np.stack([joints_of(tuple(box)) for box in people]), np.float32([0.9, 0.3])
    image, box_scores, candidates = np.zeros((300, 400, 3), np.uint8), np.float32([0.9, 0.7]), None
    for time in np.arange(0, 1, 0.1):
        scores = np.repeat(sure[:, None], 17, axis=1)
        person_scores = DEFAULT_MAPS.detected(sure * box_scores)
        tracker.update(Poses(joints, scores, people, person_scores, COCO17), float(time), box_scores)
        looked = candidates is not None and candidates.reason is not None
        candidates = finder(image, float(time) + 0.1, tracker.tracks)
        if tracker.tracks.lost.any():
            break
        box_scores = candidates.scores
    assert looked  # the second of them had half of half of .7 left, too little to be carried on
    assert candidates.reason is None
    np.testing.assert_allclose(sorted(candidates.scores), [0.175, 0.9])


@pytest.mark.parametrize(("noise", "ids"), [(0.0, 1), (8.0, 1), (60.0, 2)])  # px: OKS 1, about 0.6, and somebody else
def test_a_person_who_is_posed_twice_gets_one_id(noise: float, ids: int) -> None:
    rng, tracker, given = np.random.default_rng(0), Tracker(COCO17), set()
    box = (100.0, 50.0, 60.0, 150.0)
    for index in range(20):
        joints = np.stack([joints_of(box), joints_of(box) + noise + rng.normal(0, 1, (17, 2))]).astype(np.float32)
        scores = np.full((2, 17), 0.8, np.float32)
        poses = Poses(joints, scores, np.float32([box, box]), np.float32([0.8, 0.7]), COCO17)
        given |= set(tracker.update(poses, index / 25).track_ids.tolist())
    assert len(given) == ids


def test_ids_last_longer_than_by_iou(shared: Path, people: People) -> None:
    """With the shipped detector and network, on all that is annotated; about half the margin that was measured."""
    pytest.importorskip("motmetrics", reason="scoring ids needs motmetrics: pip install transpose-sdk[test]")
    clip = str(shared / "media" / "vtest.avi")
    with PoseEstimator(device="CPU") as estimator:
        tracked, detections = tracker_tracks(clip, people.stop, estimator)
        streamed, runs = stream_tracks(clip, people.stop, estimator)
    plain = score(people, list(iou_tracks(detections, people.fps)))
    for result in (score(people, tracked), score(people, streamed)):
        assert result["num_switches"] < 0.5 * plain["num_switches"]
        assert result["idf1"] > plain["idf1"] + 0.1
        assert result["ids"] < 0.5 * plain["ids"]
    assert runs < 0.6 * people.stop
    for found in (tracked, streamed):
        assert all(len(set(each.ids.tolist())) == len(each.ids) for each in found)
