"""Poses: shapes, slicing and the forms they are written in."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import numpy as np
import pytest

from transpose_sdk.attention import Attention
from transpose_sdk.errors import InputError, MissingDependencyError
from transpose_sdk.poses import TYPES, Poses
from transpose_sdk.scores import person_scores
from transpose_sdk.skeletons import COCO17, MPII16


def make_poses(n: int = 3, tracked: bool = True, attention: bool = False) -> Poses:
    rng = np.random.default_rng(0)
    floats = {
        "keypoints": rng.uniform(0, 100, (n, 17, 2)),
        "scores": rng.uniform(0, 1, (n, 17)),
        "boxes": rng.uniform(1, 100, (n, 4)),
        "person_scores": rng.uniform(0, 1, n),
        "raw_scores": rng.uniform(0, 1, (n, 17)),
        "raw_person_scores": rng.uniform(0, 1, n),
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
        (np.ones(3, bool), [0, 1, 2]),  # everyone
        (slice(None), [0, 1, 2]),
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


@pytest.mark.parametrize(
    "index", [0, slice(0, 2), slice(None), [0, 1, 2], np.arange(3), np.ones(3, bool), "left_wrist"]
)
def test_what_is_picked_shares_no_memory(index: Any) -> None:
    """Whoever is chosen: writing into the choice never changes what it came from."""
    poses = make_poses(attention=True)
    before = make_poses(attention=True)
    picked = poses[index]
    if isinstance(index, str):
        picked[:] = -1
    else:
        for array in arrays_of(picked):
            array[:] = -1
    for array, expected in zip(arrays_of(poses), arrays_of(before), strict=True):
        np.testing.assert_array_equal(array, expected)


def arrays_of(poses: Poses) -> list[np.ndarray]:
    """All arrays of poses that carry everything."""
    values = [getattr(poses, name) for name in TYPES]
    return [*values, poses.attention.queries, poses.attention.keys, poses.attention.crop_affines]


def test_what_is_given_to_others_shares_no_memory() -> None:
    poses = make_poses()
    corners = poses.xyxy
    np.testing.assert_allclose(corners[:, 2:] - corners[:, :2], poses.boxes[:, 2:], rtol=1e-5)
    corners[:] = 0
    Poses.concatenate([poses]).boxes[:] = 0
    np.testing.assert_array_equal(poses.boxes, make_poses().boxes)


def test_iterating_gives_one_person_after_another_and_ends() -> None:
    poses = make_poses(attention=True)
    people = list(poses)
    assert [len(one) for one in people] == [1, 1, 1]
    for row, one in enumerate(people):
        np.testing.assert_array_equal(one.keypoints[0], poses.keypoints[row])
        assert one.attention is not None and len(one.attention) == 1
    assert list(Poses.empty(COCO17)) == []


def test_a_joint_by_its_name() -> None:
    poses = make_poses()
    np.testing.assert_array_equal(poses["left_wrist"], poses.keypoints[:, COCO17.index("left_wrist")])
    assert Poses.empty(COCO17)["nose"].shape == (0, 2)
    with pytest.raises(InputError, match=r"left_knie.*use one of nose"):
        poses["left_knie"]


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
def test_concatenating(attention: bool, tracked: bool) -> None:
    poses = make_poses(3, tracked, attention)
    joined = Poses.concatenate((poses[:1], Poses.empty(COCO17), poses[1:]))
    assert (joined.attention is None, joined.track_ids is None) == (not attention, not tracked)
    for field in dataclasses.fields(Poses):
        if field.name not in ("skeleton", "attention"):
            np.testing.assert_array_equal(getattr(joined, field.name), getattr(poses, field.name))
    if joined.attention is not None and poses.attention is not None:
        np.testing.assert_array_equal(joined.attention.keys, poses.attention.keys)
        assert joined.attention.grid == poses.attention.grid


def test_what_only_some_have_is_left_out_of_the_whole() -> None:
    joined = Poses.concatenate([make_poses(2, True, True), make_poses(1, False, False)])
    assert (len(joined), joined.track_ids, joined.attention) == (3, None, None)
    nobody = Poses.concatenate([Poses.empty(COCO17)] * 2)
    assert nobody.is_empty and not joined.is_empty


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "no poses to concatenate"),
        ([make_poses(1), None], "a NoneType"),
        ([make_poses(1), Poses.empty(MPII16)], "'coco17' and 'mpii16'"),
    ],
)
def test_what_cannot_be_concatenated(parts: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Poses.concatenate(parts)


def test_lists_become_arrays() -> None:
    poses = Poses([[[1, 2]] * 17], [[0.5] * 17], [[0, 0, 9, 9]], [1], COCO17, [7])  # type: ignore[arg-type]
    kinds = [getattr(poses, name).dtype.name for name in ("keypoints", "scores", "boxes", "person_scores", "track_ids")]
    assert kinds == ["float32"] * 4 + ["int64"]
    assert Poses([], [], [], [], COCO17).keypoints.shape == (0, 17, 2)  # type: ignore[arg-type]
    double = make_poses().keypoints.astype(np.float64)
    assert dataclasses.replace(make_poses(), keypoints=double).keypoints.dtype == np.float32
    layer = make_poses(attention=True).attention
    assert layer is not None
    listed = Attention(layer.queries.tolist(), layer.keys.tolist(), layer.crop_affines.tolist(), (4, 3), (64, 48))
    np.testing.assert_array_equal(listed.queries, layer.queries)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keypoints", [[1, 2], [3]], "keypoints is .*lists of equal lengths"),
        ("keypoints", 3.0, r"keypoints has shape \(\)"),
        ("scores", "high", "scores is high"),
        ("boxes", None, "boxes is None"),
        ("person_scores", [True, False, True], "give an array of float32"),
        ("track_ids", [0.5, 1, 2], "track_ids is .*int64"),
        ("track_ids", [np.nan, 1, 2], "int64"),
        ("skeleton", "coco17", "skeleton is a str"),
        ("attention", np.zeros(3), "attention is a ndarray"),
    ],
)
def test_what_is_no_array_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(make_poses(), **{name: value})


@pytest.mark.parametrize("index", [3, -4, [0, 3], np.array([True, False]), 1.0, np.array([0.0]), None, (0, 1), True])
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


def test_raw_scores_are_the_scores_where_nothing_is_known() -> None:
    given = make_poses()
    poses = Poses(given.keypoints, given.scores, given.boxes, given.person_scores, COCO17)
    np.testing.assert_array_equal(poses.raw_scores, poses.scores)
    np.testing.assert_array_equal(poses.raw_person_scores, poses.person_scores)
    with pytest.raises(InputError, match=r"Poses.raw_scores has shape \(3, 16\), not \(3, 17\)"):
        dataclasses.replace(given, raw_scores=given.raw_scores[:, :16])


@pytest.mark.parametrize("tracked", [True, False])
def test_to_dict_is_the_json_of_run(tracked: bool) -> None:
    poses = make_poses(tracked=tracked)
    person = json.loads(json.dumps(poses.to_dict()))["people"][1]
    assert list(person) == ["track_id", "score", "box", "keypoints", "raw_score", "raw_scores"]
    assert person["track_id"] == (11 if tracked else None)
    assert person["score"] == pytest.approx(poses.person_scores[1], abs=1e-4)
    np.testing.assert_allclose(person["box"], poses.boxes[1], atol=0.006)
    np.testing.assert_allclose(np.array(person["keypoints"])[:, :2], poses.keypoints[1], atol=0.006)
    np.testing.assert_allclose(np.array(person["keypoints"])[:, 2], poses.scores[1], atol=1e-4)
    assert person["raw_score"] == pytest.approx(poses.raw_person_scores[1], abs=1e-4)
    np.testing.assert_allclose(person["raw_scores"], poses.raw_scores[1], atol=1e-4)


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
    columns = ["person", "track_id", "person_score", "keypoint", "x", "y", "score", "raw_person_score", "raw_score"]
    assert list(table.columns) == columns
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
