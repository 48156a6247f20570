"""What ships, on a photo of two people whose joints were set by hand: a man against the light and a walking woman."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import transpose_sdk as tp
from transpose_sdk.backend import Precision
from transpose_sdk.boxes import box_iou
from transpose_sdk.bundles.bundle import bundle_names, open_bundle
from transpose_sdk.oks import oks

DATA = Path(__file__).parent / "data"
PHOTO = cv2.imread(str(DATA / "park.jpg"))
TRUTH = json.loads((DATA / "park.json").read_text())["annotations"]
JOINTS = np.array([entry["keypoints"] for entry in TRUTH], np.float32).reshape(2, 17, 3)
BOXES = np.array([entry["bbox"] for entry in TRUTH], np.float32)
SHIPPED = [
    pytest.param(model, precision, id=f"{model}-{precision}")
    for model in bundle_names("pose")
    if model.startswith(("tp_l", "tp_m16"))
    for precision in ("fp16", "int8")
    if precision in open_bundle(model, "pose").graphs
]
NEAR = 0.15  # of the root of a person's area: 20 px here, half of a shin


def places(poses: tp.Poses) -> list[float]:
    """The share of each person's joints that lie at the true joint or at its mirror image's.

    The man is dark against the sky, so that his sides can be taken for each other.
    """
    mirror = poses.skeleton.mirrored
    shares = []
    for keypoints, truth, box in zip(poses.keypoints, JOINTS, BOXES, strict=True):
        seen = truth[:, 2] > 0
        either = seen & seen[mirror]
        named, mirrored = (np.linalg.norm(keypoints - truth[order, :2], axis=1) for order in (slice(None), mirror))
        distance = np.where(either, np.minimum(named, mirrored), named)[seen]
        shares.append(float((distance < NEAR * np.sqrt(box[2:].prod())).mean()))
    return shares


@pytest.mark.parametrize(("model", "precision"), SHIPPED)
def test_people_are_found_and_their_joints_lie_where_they_are(model: str, precision: Precision) -> None:
    with tp.PoseEstimator(model, "CPU", precision) as estimator:
        poses, given = estimator(PHOTO), estimator(PHOTO, boxes=BOXES)
    overlap = box_iou(BOXES, poses.boxes)
    assert (overlap.max(axis=1) > 0.6).all()
    found = poses[overlap.argmax(axis=1)]
    assert (found.person_scores > 0.5).all()
    assert len(poses[poses.person_scores > 0.1]) == 2  # and nobody else
    for each in (found, given):
        assert min(places(each)) > 0.85
        area, seen = [[BOXES[1, 2:].prod()]], JOINTS[1:, :, 2] > 0
        walker = oks(JOINTS[1:, :, :2], each.keypoints[1:], area, each.skeleton, seen)
        assert walker[0, 0] > 0.8  # her sides too


QUANTIZED = next((model for model in bundle_names("pose") if "int8" in open_bundle(model, "pose").graphs), "")


def test_int8_says_what_fp16_says() -> None:
    """By the walker's joints: the sides of the man are anyone's guess."""
    keypoints = []
    for precision in ("fp32", "fp16", "int8"):
        with tp.PoseEstimator(QUANTIZED, "CPU", precision) as estimator:
            keypoints.append(estimator(PHOTO, boxes=BOXES[1:]).keypoints[0])
    exact, half, quantized = keypoints
    seen = JOINTS[1, :, 2] > 0
    assert np.linalg.norm(half - exact, axis=1)[seen].max() < 3  # px, of a person of 224
    assert np.median(np.linalg.norm(quantized - exact, axis=1)[seen]) < 4


def test_the_stream_finds_them_too() -> None:
    with tp.PoseStream([PHOTO] * 4) as stream:
        frames = list(stream)
    assert [len(frame.poses) for frame in frames] == [2] * 4
    assert [sorted(frame.poses.track_ids.tolist()) for frame in frames] == [[1, 2]] * 4
    rows = box_iou(BOXES, frames[-1].poses.boxes).argmax(axis=1)
    assert min(places(frames[-1].poses[rows])) > 0.85


def test_several_photos_at_once_are_as_one_after_another() -> None:
    images = [PHOTO, PHOTO[:, :480], cv2.cvtColor(PHOTO, cv2.COLOR_BGR2GRAY), np.zeros_like(PHOTO)] * 2
    with tp.PoseEstimator(device="CPU") as estimator:
        many = estimator.batch(images)
        assert [len(poses) for poses in many[:2]] == [2, 1]
        assert many[3].is_empty
        for image, poses in zip(images, many, strict=True):
            np.testing.assert_allclose(poses.keypoints, estimator(image).keypoints, atol=1e-3)
        given = estimator.batch([PHOTO, PHOTO], boxes=[BOXES, BOXES[:0]])
        np.testing.assert_allclose(given[0].keypoints, estimator(PHOTO, BOXES).keypoints, atol=1e-3)
        np.testing.assert_array_equal(given[0].boxes, BOXES)
        assert given[1].is_empty
