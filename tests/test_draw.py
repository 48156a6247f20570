"""Drawing: which pixels change, in which colours, at which sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transpose_sdk.drawing.annotator import PoseAnnotator, skeleton_colors
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17, MPII16

# A person facing the camera in a box of 1 x 1.
STANDING = np.float32([
    [.5, .07], [.53, .05], [.47, .05], [.57, .07], [.43, .07], [.66, .2], [.34, .2], [.8, .36], [.2, .36], [.85, .5],
    [.15, .5], [.6, .52], [.4, .52], [.63, .74], [.37, .74], [.62, .96], [.38, .96],
])  # fmt: skip


def person(x: float, y: float, w: float, h: float) -> Poses:
    """One person standing in the box."""
    return Poses(
        keypoints=(STANDING * [w, h] + [x, y]).astype(np.float32)[None],
        scores=np.full((1, 17), 0.9, np.float32),
        boxes=np.float32([[x, y, w, h]]),
        person_scores=np.float32([0.87]),
        skeleton=COCO17,
    )


def changed(poses: Poses, size: tuple[int, int] = (480, 640), **options: float) -> np.ndarray:
    """(H, W) bool: where drawing changes an even picture."""
    scene = np.full((*size, 3), 128, np.uint8)
    return (PoseAnnotator(**options).annotate(scene, poses) != scene).any(axis=2)  # type: ignore[arg-type]


def test_nothing_is_drawn_without_people_and_the_scene_is_kept() -> None:
    scene = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    kept = scene.copy()
    annotator = PoseAnnotator()
    np.testing.assert_array_equal(annotator.annotate(scene, Poses.empty(COCO17)), kept)
    drawn = annotator.annotate(scene, person(10, 10, 20, 36))
    np.testing.assert_array_equal(scene, kept)
    assert annotator.annotate(scene, person(10, 10, 20, 36), in_place=True) is scene
    np.testing.assert_array_equal(scene, drawn)


def test_limbs_are_drawn_where_the_joints_are() -> None:
    poses = person(200, 60, 160, 360)
    mask = changed(poses, boxes=False, labels=False)
    for a, b in COCO17.edges:
        x, y = (poses.keypoints[0, a] + poses.keypoints[0, b]) / 2
        assert mask[round(float(y)), round(float(x))], (COCO17.names[a], COCO17.names[b])
    rows, columns = np.nonzero(mask)
    assert rows.min() > 60 and rows.max() < 430
    assert columns.min() > 200 and columns.max() < 360


def test_left_is_cold_and_right_is_warm() -> None:
    for skeleton in (COCO17, MPII16):
        limbs, joints = skeleton_colors(skeleton)
        assert len(limbs) == len(skeleton.edges)
        for name, (blue, _, red) in zip(skeleton.names, joints, strict=True):
            side = np.sign(int(blue) - int(red))
            assert side == (1 if name.startswith("left") else -1 if name.startswith("right") else 0), name
    drawn = PoseAnnotator().annotate(np.full((480, 640, 3), 128, np.uint8), poses := person(200, 60, 160, 360))
    for name, sign in (("left_knee", 1), ("right_knee", -1)):
        x, y = np.rint(poses.keypoints[0, COCO17.index(name)]).astype(int)
        blue, _, red = drawn[y, x].astype(int)
        assert np.sign(blue - red) == sign


def test_unsure_joints_and_their_limbs_are_left_out() -> None:
    poses = person(200, 60, 160, 360)
    wrist = COCO17.index("left_wrist")
    scores = poses.scores.copy()
    scores[0, wrist] = 0.19
    x, y = np.rint(poses.keypoints[0, wrist]).astype(int)
    unsure = replace(poses, scores=scores)
    assert changed(poses, boxes=False)[y, x]
    assert not changed(unsure, boxes=False)[y - 8 : y + 8, x - 8 : x + 8].any()
    assert changed(unsure, boxes=False, min_score=0.1)[y, x]


@pytest.mark.parametrize(
    ("height", "low", "high"),
    [
        (480, 5, 11),  # px of limb, outline and their soft edges, of a person that fills the picture
        (1080, 10, 20),
        (2160, 20, 40),
    ],
)
def test_widths_follow_the_picture(height: int, low: int, high: int) -> None:
    poses = person(0.3 * height, 0.1 * height, 0.4 * height, 0.8 * height)
    mask = changed(poses, (height, height), boxes=False, labels=False)
    # Across the left lower leg, half way.
    y = round(0.1 * height + 0.85 * 0.8 * height)
    middle = round(0.3 * height + 0.5 * 0.4 * height)
    assert low <= mask[y, middle:].sum() <= high


def test_small_people_get_thin_limbs_without_outline() -> None:
    mask = changed(person(300, 200, 32, 80), boxes=False, labels=False)
    assert mask[200 + 68, 316:].sum() <= 5


def test_each_track_has_its_colour_and_labels_can_be_left_out() -> None:
    scene = np.full((480, 640, 3), 128, np.uint8)
    first, second, again = (
        PoseAnnotator().annotate(scene, replace(person(200, 60, 160, 360), track_ids=np.array([track])))[300, 200]
        for track in (1, 2, 1)
    )
    assert (first == again).all()
    assert (first != second).any()
    above = changed(person(200, 60, 160, 360))[:58]
    assert above.any()
    assert not changed(person(200, 60, 160, 360), labels=False)[:58].any()


@pytest.mark.parametrize(
    "box",
    [
        (-50, -80, 100, 200),  # over the corner
        (600, 440, 100, 200),
        (2000, 2000, 50, 100),  # wholly outside
        (1e9, -1e9, 10, 10),
        (10, 10, 0, 0),
        (float("nan"), 10, 30, 60),
    ],
)
def test_people_outside_the_picture_do_no_harm(box: tuple[float, float, float, float]) -> None:
    poses = person(*box)
    drawn = PoseAnnotator().annotate(np.full((480, 640, 3), 128, np.uint8), poses)
    assert drawn.shape == (480, 640, 3)


def test_who_has_left_the_picture_leaves_no_label_at_its_edge() -> None:
    half_out = person(-80, 60, 160, 360)
    assert changed(half_out).any()
    unsure = replace(half_out, scores=np.where(half_out.keypoints[..., 0] >= 0, 0.1, 0.9).astype(np.float32))
    assert not changed(unsure).any(), "no joint of theirs lies in the picture"
    nobody_sure = np.full((1, 17), 0.1, np.float32)
    assert changed(replace(person(200, 60, 160, 360), scores=nobody_sure)).any(), "a box within the picture stays"


@pytest.mark.parametrize("scene", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.float32), [[1]], None])
def test_bad_scenes(scene: object) -> None:
    with pytest.raises(InputError, match=r"the scene .* \(H, W, 3\) uint8"):
        PoseAnnotator().annotate(scene, Poses.empty(COCO17))  # type: ignore[arg-type]


def test_grey_scenes_become_pictures_and_only_pictures_are_drawn_on() -> None:
    grey = np.full((480, 640), 90, np.uint8)
    one = person(200, 60, 160, 360)
    picture = PoseAnnotator().annotate(grey, one)
    np.testing.assert_array_equal(picture, PoseAnnotator().annotate(np.dstack([grey] * 3), one))
    assert (grey == 90).all()
    for scene in (grey, np.dstack([grey] * 4), np.dstack([grey] * 3)[:, ::-1]):
        with pytest.raises(InputError, match="in place"):
            PoseAnnotator().annotate(scene, one, in_place=True)
