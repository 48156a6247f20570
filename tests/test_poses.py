"""Poses: shapes, slicing and the forms they are written in."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from transpose_sdk.attention import Attention
from transpose_sdk.errors import InputError, MissingDependencyError
from transpose_sdk.poses import Poses, person_scores
from transpose_sdk.skeletons import COCO17


def make_poses(n: int = 3, tracked: bool = True, attention: bool = False) -> Poses:
    rng = np.random.default_rng(0)
    floats = {
        "keypoints": rng.uniform(0, 100, (n, 17, 2)),
        "scores": rng.uniform(0, 1, (n, 17)),
        "boxes": rng.uniform(1, 100, (n, 4)),
        "person_scores": rng.uniform(0, 1, n),
    }
    layer = None
    if attention:
        queries, keys = rng.standard_normal((2, n, 2, 12, 4)).astype(np.float32)
        layer = Attention(queries, keys, rng.standard_normal((n, 2, 3)).astype(np.float32), (4, 3), (64, 48))
    return Poses(
        **{name: value.astype(np.float32) for name, value in floats.items()},
        skeleton=COCO17,
        track_ids=np.arange(n) + 10 if tracked else None,
        attention=layer,
    )


@pytest.mark.parametrize(
    ("index", "people"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(2), [2]),
        (slice(1, None), [1, 2]),
        (slice(0, 0), []),
        ([2, 0], [2, 0]),
        ([], []),
        (np.array([0, 0]), [0, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
        (np.zeros(3, bool), []),
        (np.ones(3, bool), [0, 1, 2]),  # everyone: the same poses
        ([0, 1, 2], [0, 1, 2]),
    ],
)
def test_indexing_gives_poses(index: object, people: list[int]) -> None:
    poses = make_poses(attention=True)
    picked = poses[index]  # type: ignore[index]
    assert isinstance(picked, Poses)
    assert len(picked) == len(people)
    assert picked.skeleton is COCO17
    for field in dataclasses.fields(Poses):
        if field.name not in ("skeleton", "attention"):
            np.testing.assert_array_equal(getattr(picked, field.name), getattr(poses, field.name)[people])
    assert picked.attention is not None and poses.attention is not None
    for name in ("queries", "keys", "crop_affines"):
        np.testing.assert_array_equal(getattr(picked.attention, name), getattr(poses.attention, name)[people])


@pytest.mark.parametrize("index", [3, -4, [0, 3], np.array([True, False])])
def test_people_that_are_not_there(index: object) -> None:
    with pytest.raises(InputError, match="from 3 people"):
        make_poses()[index]  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keypoints", np.zeros((3, 17, 3), np.float32), r"keypoints has shape \(3, 17, 3\), not \(3, 17, 2\)"),
        ("keypoints", np.zeros((3, 16, 2), np.float32), r"not \(3, 17, 2\)"),
        ("scores", np.zeros((2, 17), np.float32), r"scores has shape \(2, 17\), not \(3, 17\)"),
        ("boxes", np.zeros((3, 5), np.float32), r"not \(3, 4\)"),
        ("person_scores", np.zeros((3, 1), np.float32), r"not \(3,\)"),
        ("track_ids", np.zeros(4, np.int64), r"track_ids has shape \(4,\), not \(3,\)"),
        ("attention", make_poses(2, attention=True).attention, "of 2 people, but there are 3"),
    ],
)
def test_wrong_shapes_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(make_poses(attention=True), **{name: value})


def test_empty() -> None:
    poses = Poses.empty(COCO17)
    assert len(poses) == len(poses[poses.person_scores > 0.5]) == 0
    assert poses.keypoints.shape == (0, 17, 2)
    assert poses.to_dict() == {"people": []}
    assert poses.to_coco(1) == []


@pytest.mark.parametrize("tracked", [True, False])
def test_to_dict_is_the_json_of_run(tracked: bool) -> None:
    poses = make_poses(tracked=tracked)
    person = json.loads(json.dumps(poses.to_dict()))["people"][1]
    assert list(person) == ["track_id", "score", "box", "keypoints"]
    assert person["track_id"] == (11 if tracked else None)
    assert person["score"] == pytest.approx(poses.person_scores[1], abs=1e-4)
    np.testing.assert_allclose(person["box"], poses.boxes[1], atol=0.006)
    np.testing.assert_allclose(np.array(person["keypoints"])[:, :2], poses.keypoints[1], atol=0.006)
    np.testing.assert_allclose(np.array(person["keypoints"])[:, 2], poses.scores[1], atol=1e-4)


def test_to_coco() -> None:
    poses = make_poses()
    entries = json.loads(json.dumps(poses.to_coco(image_id=42)))
    assert [entry["image_id"] for entry in entries] == [42] * 3
    assert {entry["category_id"] for entry in entries} == {1}
    flat = np.array(entries[2]["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(flat[:, :2], poses.keypoints[2], atol=1e-3)
    np.testing.assert_allclose(flat[:, 2], poses.scores[2], atol=1e-3)
    assert entries[2]["score"] == pytest.approx(poses.person_scores[2])


@pytest.mark.parametrize("tracked", [True, False])
def test_to_pandas_is_tidy(tracked: bool) -> None:
    pytest.importorskip("pandas", reason="pandas is optional")
    poses = make_poses(tracked=tracked)
    table = poses.to_pandas()
    assert list(table.columns) == ["person", "track_id", "person_score", "keypoint", "x", "y", "score"]
    assert len(table) == 3 * 17
    row = table[(table.person == 2) & (table.keypoint == "left_wrist")].iloc[0]
    wrist = COCO17.index("left_wrist")
    assert (row.x, row.y) == tuple(poses.keypoints[2, wrist])
    assert row.score == poses.scores[2, wrist]
    assert table.track_id.isna().all() == (not tracked)


def test_to_pandas_without_pandas_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        make_poses().to_pandas()


@pytest.mark.parametrize("tracked", [True, False])
def test_to_supervision_draws_and_counts(tracked: bool) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is optional")
    poses = make_poses(tracked=tracked)
    key_points, detections = poses.to_supervision()
    assert (len(key_points), len(detections)) == (3, 3)
    np.testing.assert_array_equal(key_points.xy, poses.keypoints)
    np.testing.assert_allclose(detections.xyxy[:, 2:] - detections.xyxy[:, :2], poses.boxes[:, 2:], rtol=1e-5)
    assert (detections.tracker_id is None) == (not tracked)
    chosen = detections[detections.confidence > np.median(poses.person_scores)]
    assert len(chosen) == 1
    scene = np.zeros((480, 640, 3), np.uint8)
    assert sv.VertexAnnotator().annotate(scene.copy(), key_points).any()
    assert sv.BoxAnnotator().annotate(scene.copy(), detections).any()
    nobody = poses[poses.person_scores > 9].to_supervision()
    assert [len(each) for each in nobody] == [0, 0]


def test_to_supervision_without_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match="pip install supervision"):
        make_poses().to_supervision()


@pytest.mark.parametrize(
    ("scores", "box_score", "expected"),
    [
        ([0.9, 0.5, 0.1], 0.5, 0.35),  # the joint at 0.1 doesn't count
        ([0.2, 0.1, 0.0], 0.9, 0.0),  # none counts: 0.2 itself doesn't
        ([1.0, 1.0, 1.0], 0.8, 0.8),
    ],
)
def test_person_scores(scores: list[float], box_score: float, expected: float) -> None:
    actual = person_scores(np.float32([scores]), np.float32([box_score]))
    np.testing.assert_allclose(actual, [expected], rtol=1e-6)
    assert actual.dtype == np.float32


def test_person_scores_of_nobody() -> None:
    assert person_scores(np.zeros((0, 17), np.float32), np.zeros(0, np.float32)).shape == (0,)
