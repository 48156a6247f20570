"""The estimator on the shipped weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from transpose_sdk import COCO17, PoseEstimator, Poses
from transpose_sdk.bundles.bundle import DEFAULT_MODEL, open_bundle
from transpose_sdk.bundles.writer import amend_bundle
from transpose_sdk.errors import BackendError, BundleError, DetectorError, InputError

IMAGE = np.full((240, 320, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def estimator() -> Iterator[PoseEstimator]:
    with PoseEstimator(device="CPU") as opened:
        yield opened


@pytest.fixture(scope="module")
def walker(shared: Path) -> np.ndarray:
    """A frame of 1768 x 994 px with one walker."""
    video = cv2.VideoCapture(str(shared / "media" / "walk.mp4"))
    video.set(cv2.CAP_PROP_POS_FRAMES, 60)
    return video.read()[1]


def test_nobody_in_the_frame_gives_empty_poses_of_the_right_shapes(estimator: PoseEstimator) -> None:
    poses = estimator(IMAGE)
    assert isinstance(poses, Poses)
    assert (poses.keypoints.shape, poses.scores.shape, poses.boxes.shape) == ((0, 17, 2), (0, 17), (0, 4))
    assert poses.to_dict() == {"people": []}


def test_no_boxes_give_no_poses(estimator: PoseEstimator) -> None:
    assert len(estimator(IMAGE, boxes=np.zeros((0, 4)))) == 0


def test_every_box_gives_its_pose_in_order(estimator: PoseEstimator) -> None:
    boxes = np.float32([[10, 20, 60, 120], [200, 30, 100, 200], [-20, -20, 60, 100]])
    poses = estimator(IMAGE, boxes=boxes)
    np.testing.assert_array_equal(poses.boxes, boxes)
    assert poses.skeleton == COCO17
    for row in range(3):
        alone = estimator(IMAGE, boxes=boxes[row : row + 1])
        np.testing.assert_allclose(alone.keypoints[0], poses.keypoints[row], atol=1e-3)


@pytest.mark.parametrize(
    ("image", "boxes", "said"),
    [
        ("street.jpg", None, "str"),  # a path instead of an image
        (IMAGE.astype(np.float32), None, "float32"),  # floats
        (np.zeros((0, 10, 3), np.uint8), None, "shape"),  # no pixel
        (IMAGE, [[0, 0, 10]], r"\(1, 3\)"),  # boxes of the wrong shape
        (IMAGE, [[0, 0, 0, 10]], "no area"),  # a box without an area
        (IMAGE, [[400, 0, 20, 20]], "outside"),  # a box outside the image
        (IMAGE, [[np.nan, 0, 20, 20]], "finite"),  # a box that is no box
        (IMAGE, [["left", 0, 20, 20]], "not numbers"),
    ],
)
def test_wrong_images_and_boxes_are_named(estimator: PoseEstimator, image: object, boxes: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        estimator(image, boxes=boxes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (IMAGE, {}, "give a list"),  # one image: its rows are no images
        ([IMAGE, IMAGE.astype(np.float32)], {}, "image 1 has .* float32"),  # before any work
        ([IMAGE, IMAGE], {"boxes": [[[0, 0, 20, 20]]]}, "boxes of 1 images"),
        ([IMAGE, IMAGE], {"boxes": [[[0, 0, 20, 20]], [[400, 0, 20, 20]]]}, "outside"),
    ],
)
def test_wrong_batches_are_named(estimator: PoseEstimator, images: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        estimator.batch(images, **options)


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5, 0.5], [[0.5, 0.5]], ["high", "low"], 0.5])
def test_wrong_box_scores_are_named(estimator: PoseEstimator, scores: Any) -> None:
    with pytest.raises(InputError, match="box_scores"):
        estimator(IMAGE, boxes=[[10, 20, 60, 120], [80, 20, 60, 120]], box_scores=scores)
    with pytest.raises(InputError, match="belong to boxes"):
        estimator(IMAGE, box_scores=scores)


def test_box_scores_are_a_factor_of_the_persons_score(estimator: PoseEstimator) -> None:
    boxes = [[10, 20, 60, 120], [80, 20, 60, 120]]
    whole, less = estimator(IMAGE, boxes), estimator(IMAGE, boxes, [0.5, 0.25])
    np.testing.assert_allclose(less.raw_person_scores, whole.raw_person_scores * (0.5, 0.25), rtol=1e-5)
    maps = estimator.bundle.scores
    assert maps is not None
    np.testing.assert_array_equal(whole.person_scores, maps.given(whole.raw_person_scores))
    np.testing.assert_array_equal(less.person_scores, maps.detected(less.raw_person_scores))  # there may be nobody


def test_grey_and_bgra_are_converted(estimator: PoseEstimator) -> None:
    box = [[10, 20, 60, 120]]
    expected = estimator(IMAGE, box).keypoints
    for image in (IMAGE[..., 0], IMAGE[..., :1], np.dstack((IMAGE, IMAGE[..., 0]))):
        np.testing.assert_array_equal(estimator(image, box).keypoints, expected)
        assert estimator(image).is_empty


def test_the_callers_boxes_are_not_those_of_the_poses(estimator: PoseEstimator) -> None:
    boxes = np.float32([[10, 20, 60, 120]])
    poses = estimator(IMAGE, boxes)
    poses.boxes[:] = 0
    assert boxes[0, 2] == 60


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "tp_x"}, BundleError, "tp_m16_192x144"),  # unknown: the shipped ones are listed
        ({"model": "/no/such/folder.tpose"}, BundleError, "no pose bundle"),
        ({"device": "TOASTER"}, BackendError, "CPU"),
        ({"precision": "int3"}, BundleError, "int3"),
        ({"detector": "/no/such/detector.onnx"}, DetectorError, "detector.onnx"),
    ],
)
def test_wrong_options_are_named(options: dict[str, str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        PoseEstimator(**{"device": "CPU", **options})


def test_a_walker_is_found_and_upright(estimator: PoseEstimator, walker: np.ndarray) -> None:
    poses = estimator(walker)
    assert len(poses) >= 1
    best = poses[0]
    heights = dict(zip(COCO17.names, best.keypoints[0, :, 1], strict=True))
    assert heights["nose"] < heights["left_hip"] < heights["left_ankle"]
    assert heights["left_ankle"] - heights["nose"] > 0.6 * best.boxes[0, 3]
    x, y, width, height = best.boxes[0]
    inside = (best.keypoints[0] >= (x - 0.2 * width, y - 0.2 * height)) & (
        best.keypoints[0] <= (x + 1.2 * width, y + 1.2 * height)
    )
    assert inside.all(1).mean() > 0.8


@pytest.mark.parametrize(("score", "found"), [(0.02, True), (0.999, False)])
def test_the_lowest_score_of_a_person_is_the_callers(walker: np.ndarray, score: float, found: bool) -> None:
    with PoseEstimator(device="CPU", detector_score=score) as opened:
        poses, (boxes, scores) = opened(walker), opened.detector(walker)
    assert bool(len(poses)) == bool(len(boxes)) == found
    assert (scores >= score).all()


def test_attention_covers_the_image_whether_carried_or_inferred_again(walker: np.ndarray) -> None:
    with PoseEstimator(device="CPU", attention=True) as carrying, PoseEstimator(device="CPU") as lean:
        poses = carrying(walker)
        assert poses.attention is not None
        carried = carrying.attention(walker, poses, 0, "left_ankle")
        again = lean.attention(walker, lean(walker), 0, "left_ankle")
    assert carried.grid.sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(carried.grid, again.grid, atol=0.02)


def test_attention_names_what_is_not_there(estimator: PoseEstimator) -> None:
    poses = estimator(IMAGE, boxes=[[10, 20, 60, 120]])
    with pytest.raises(InputError, match="no person 1"):
        estimator.attention(IMAGE, poses, 1, "nose")
    with pytest.raises(InputError, match="left_knie"):
        estimator.attention(IMAGE, poses, 0, "left_knie")
    with pytest.raises(InputError, match="mode"):
        estimator.attention(IMAGE, poses, 0, "nose", mode="sideways")


def test_flip_test_changes_the_answer_a_little(walker: np.ndarray) -> None:
    box = np.float32([[600, 200, 250, 600]])
    with PoseEstimator(device="CPU") as once, PoseEstimator(device="CPU", flip_test=True) as twice:
        difference = np.abs(once(walker, boxes=box).scores - twice(walker, boxes=box).scores)
    assert 0 < difference.max() < 0.5


def test_a_bundle_says_whether_it_looks_twice(tmp_path: Path, walker: np.ndarray) -> None:
    shutil.copytree(open_bundle(DEFAULT_MODEL, "pose").folder, tmp_path / "twice.tpose")
    amend_bundle(open_bundle(tmp_path / "twice.tpose", "pose"), flip_test=True)
    box = np.float32([[600, 200, 250, 600]])
    scores = []
    for model, asked in ((tmp_path / "twice.tpose", None), (DEFAULT_MODEL, True), (tmp_path / "twice.tpose", False)):
        with PoseEstimator(model, "CPU", detector="frame", flip_test=asked) as estimator:
            assert estimator.flip_test is estimator.describe()["flip_test"] is (asked is not False)
            scores.append(estimator(walker, boxes=box).scores)
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 0


@pytest.mark.parametrize("boxes", [None, [[[10, 10, 40, 80]]] * 2])
def test_several_images_want_most_people_a_second_and_one_its_answer(
    estimator: PoseEstimator, monkeypatch: pytest.MonkeyPatch, boxes: Any
) -> None:
    started, told = estimator.backend.submit, []

    def submit(crops: np.ndarray, attention: bool = False, ahead: bool = False) -> Any:
        told.append(ahead)
        return started(crops, attention, ahead)

    monkeypatch.setattr(estimator.backend, "submit", submit)
    images = [np.zeros((120, 90, 3), np.uint8)] * 2
    estimator.batch(images, boxes)
    estimator(images[0], None if boxes is None else boxes[0])
    assert told == [True, True, False]
