"""The glow of attention: where it lies, what it leaves alone, and that it follows each person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transpose_sdk.attention import Attention
from transpose_sdk.crops import apply_affine, boxes_to_centers_scales, crop_affines, invert_affines
from transpose_sdk.dependency import DependencyArea, Threshold, attention_areas
from transpose_sdk.drawing.annotator import PoseAnnotator
from transpose_sdk.drawing.overlay import AttentionOverlay, draw_star, paint_area
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17

GRID, INPUT = (16, 12), (128, 96)


def spot(cell: tuple[int, int], transform: np.ndarray) -> DependencyArea:
    """An area whose attention lies on one cell."""
    grid = np.full(GRID, 1e-4, np.float32)
    grid[cell[1], cell[0]] = 0.9
    return DependencyArea(grid, transform, "nose", cell)


def people(boxes: list[list[float]]) -> Poses:
    """People whose left wrist lies in the middle of their box and attends to the cell that lies there."""
    centers, scales = boxes_to_centers_scales(np.float32(boxes), INPUT)
    affines = invert_affines(crop_affines(centers, scales, INPUT)).astype(np.float32)
    count, middle = len(boxes), 8 * 12 + 6
    queries, keys = np.zeros((2, count, 1, 192, 4), np.float32)
    queries[:], keys[:, :, middle] = 3, 3
    return Poses(
        keypoints=np.repeat(centers[:, None], 17, axis=1).astype(np.float32),
        scores=np.full((count, 17), 0.9, np.float32),
        boxes=np.float32(boxes),
        person_scores=np.ones(count, np.float32),
        skeleton=COCO17,
        attention=Attention(queries, keys, affines, GRID, INPUT),
    )


@pytest.mark.parametrize(
    ("cell", "transform"),
    [
        ((5, 8), [[20, 0, 100], [0, 20, 50]]),
        ((0, 0), [[20, 0, 100], [0, 20, 50]]),  # at the border of the grid
        ((11, 15), [[3.3, 0, 10.7], [0, 3.3, 5.2]]),  # a small person
        ((5, 8), [[40, 0, -180.5], [0, 40, -290.5]]),  # half outside the picture
    ],
)
def test_the_glow_is_where_the_cell_is(cell: tuple[int, int], transform: list) -> None:
    scene = np.full((400, 420, 3), 90, np.uint8)
    area = spot(cell, np.array(transform, float))
    painted = scene.copy()
    paint_area(painted, area)
    change = np.abs(painted.astype(int) - scene).sum(axis=2)
    x, y = apply_affine(cell, area.transform)
    step = transform[0][0]
    ys, xs = np.nonzero(change)
    assert np.hypot(xs - x, ys - y).max() < 3 * step  # and nowhere else
    bright = change * (np.hypot(*np.ogrid[-y : 399.5 - y, -x : 419.5 - x]) < 0.4 * step)
    assert bright.max() == change.max()


def test_nothing_is_drawn_below_the_threshold() -> None:
    scene = np.full((400, 420, 3), 90, np.uint8)
    painted = scene.copy()
    paint_area(painted, spot((5, 8), np.array([[20.0, 0, 100], [0, 20, 50]])), Threshold(0.95))
    paint_area(painted, spot((5, 8), np.array([[20.0, 0, 900], [0, 20, 50]])))  # outside
    paint_area(painted, spot((5, 8), np.array([[20.0, 0, 100], [0, 20, 50]])), opacity=0.0)
    np.testing.assert_array_equal(painted, scene)


def test_even_attention_covers_the_whole_crop() -> None:
    painted = np.zeros((64, 48, 3), np.uint8)
    even = DependencyArea(np.full(GRID, 1 / 192, np.float32), np.array([[4.0, 0, 1.5], [0, 4, 1.5]]), "nose", (0, 0))
    paint_area(painted, even, Threshold(1.0, relative=True))
    assert (painted[2:-2, 2:-2].max(axis=2) > 100).all()


def test_a_turned_area_is_refused() -> None:
    with pytest.raises(InputError, match="turned"):
        paint_area(np.zeros((9, 9, 3), np.uint8), spot((1, 1), np.array([[0.0, -2, 0], [2, 0, 0]])))


def test_the_overlay_follows_each_person() -> None:
    scene = np.full((400, 600, 3), 90, np.uint8)
    poses = people([[50, 50, 90, 180], [350, 100, 120, 240]])
    overlay = AttentionOverlay("left_wrist")
    plain, shown = (PoseAnnotator(attention=given).annotate(scene, poses) for given in (None, overlay))
    change = (plain != shown).any(axis=2)
    for x, y, w, h in poses.boxes:
        assert change[int(y) : int(y + h), int(x) : int(x + w)].mean() > 0.02
    assert not change[:, 230:300].any()
    # A joint that is not drawn has no glow either.
    unsure = replace(poses, scores=np.float32([[0.1] * 17, [0.9] * 17]))
    plain, shown = (PoseAnnotator(attention=given).annotate(scene, unsure) for given in (None, overlay))
    assert not (plain != shown)[:, :250].any()
    assert (plain != shown)[:, 300:].any()
    np.testing.assert_array_equal(PoseAnnotator(attention=overlay).annotate(scene, poses[:0]), scene)


def test_the_threshold_decides_what_glows() -> None:
    poses = people([[50, 50, 90, 180]])
    area = attention_areas(poses, 0, ["left_wrist"])[0]
    scene = np.full((300, 300, 3), 90, np.uint8)
    glows = []
    for value in (1e-9, 0.9):  # of all cells, and of the middle one
        overlay = AttentionOverlay("left_wrist", threshold=Threshold(value * float(area.grid.max())))
        canvas = scene.copy()
        overlay.paint(canvas, poses, 0.2)
        glows.append((canvas != scene).any(axis=2).mean())
    assert glows[0] > 3 * glows[1] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keypoint": "left_wing"}, "no keypoint 'left_wing'"),
        ({"mode": "sideways"}, "mode='sideways'; give one of dependency, affected"),
        ({"opacity": 1.5}, "opacity=1.5"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AttentionOverlay(**{"keypoint": "left_wrist", **options}).paint(
            np.zeros((99, 99, 3), np.uint8), people([[9, 9, 30, 60]]), 0.2
        )


def test_poses_without_attention_are_refused() -> None:
    poses = replace(people([[9, 9, 30, 60]]), attention=None)
    with pytest.raises(InputError, match="carry no attention"):
        PoseAnnotator(attention=AttentionOverlay("nose")).annotate(np.zeros((99, 99, 3), np.uint8), poses)


@pytest.mark.parametrize("center", [(50, 50), (-500, 20), (float("nan"), 3), (1e9, 1e9)])
def test_a_star_outside_the_picture_does_no_harm(center: tuple[float, float]) -> None:
    canvas = np.zeros((100, 100, 3), np.uint8)
    draw_star(canvas, np.array(center), 10)
    assert (canvas[50, 50] == 255).all() == (center == (50, 50))
