"""Augmentation: the statistics of the published rule, and joints that stay on their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")

from transpose_sdk.skeletons import COCO17
from transpose_sdk.trainers.data.augmentation import View, plain_view, random_view
from transpose_sdk.trainers.data.batches import EpochBatches
from transpose_sdk.trainers.data.image_cache import ImageCache
from transpose_sdk.trainers.data.persons import Persons
from transpose_sdk.trainers.recipe import Recipe

BOX = np.float32([40, 30, 120, 200])
JOINTS = np.float32([(50 + 5 * k, 40 + 11 * k) for k in range(17)])
DRAWS = 4000


def draw_views(weights: NDArray[np.float32], **options: Any) -> list[View]:
    recipe = Recipe("tp_r_a4", **options)
    rng = np.random.default_rng(3)
    return [random_view(BOX, JOINTS, weights, COCO17, recipe, rng) for _ in range(DRAWS)]


def known(*joints: int) -> NDArray[np.float32]:
    weights = np.zeros(17, np.float32)
    weights[list(joints)] = 1
    return weights


def test_scale_is_clipped_normal() -> None:
    plain = plain_view(BOX, (256, 192)).scale
    factors = np.array([view.scale / plain for view in draw_views(np.ones(17, np.float32), half_body=0.0)])
    np.testing.assert_allclose(factors[:, 0], factors[:, 1], rtol=1e-6)
    factors = factors[:, 0]
    assert factors.min() == pytest.approx(0.65, abs=1e-6)
    assert factors.max() == pytest.approx(1.35, abs=1e-6)
    # A normal draw is past one deviation in 15.9 % of cases on each side; 4000 draws leave 0.6 %.
    assert np.mean(factors < 0.6501) == pytest.approx(0.159, abs=0.025)
    assert np.mean(factors > 1.3499) == pytest.approx(0.159, abs=0.025)
    assert np.median(factors) == pytest.approx(1, abs=0.03)


def test_rotation_and_flip_statistics() -> None:
    views = draw_views(np.ones(17, np.float32))
    angles = np.array([view.rotation for view in views])
    assert np.mean(angles != 0) == pytest.approx(0.6, abs=0.03)
    turned = np.abs(angles[angles != 0])
    assert turned.max() == 90
    assert np.mean(turned == 90) == pytest.approx(0.0455, abs=0.015)  # past two deviations
    assert np.mean(turned < 45) == pytest.approx(0.683, abs=0.03)  # within one
    assert np.mean(angles > 0) == pytest.approx(0.3, abs=0.03)
    assert np.mean([view.mirrored for view in views]) == pytest.approx(0.5, abs=0.03)
    assert not any(view.mirrored for view in draw_views(np.ones(17, np.float32), flip=0.0))


UPPER, LOWER = tuple(range(11)), tuple(range(11, 17))


@pytest.mark.parametrize(
    ("joints", "upper", "lower"),
    [
        (range(17), 0.3 * 0.6915, 0.3 * 0.3085),  # P(randn < .5) = .6915
        (range(9), 0.3, 0.0),  # nine joints are enough; no lower half, so the upper one always
        (range(8), 0.0, 0.0),  # eight are not
        ((*range(7), 11, 12), 0.3, 0.0),  # two joints make no lower half
        ((0, 1, 2, *LOWER), 0.3 * 0.6915, 0.3 * 0.3085),  # three make an upper one
        ((0, 1, *LOWER), 0.0, 0.0),  # eight in all
    ],
)
def test_half_body_is_chosen_as_published(joints: Any, upper: float, lower: float) -> None:
    weights = known(*joints)
    counts = {"upper": 0, "lower": 0, "whole": 0}
    halves = {
        name: JOINTS[(weights > 0) & np.isin(np.arange(17), part)].mean(0)
        for name, part in (("upper", UPPER), ("lower", LOWER))
        if weights[list(part)].any()
    }
    whole = plain_view(BOX, (256, 192)).center
    for view in draw_views(weights):
        places = {**halves, "whole": whole}
        counts[min(places, key=lambda name: float(np.abs(places[name] - view.center).sum()))] += 1
        assert min(np.abs(place - view.center).sum() for place in places.values()) < 1e-3
    assert counts["upper"] / DRAWS == pytest.approx(upper, abs=0.025)
    assert counts["lower"] / DRAWS == pytest.approx(lower, abs=0.025)


@pytest.mark.parametrize("input_size", [(256, 192), (256, 256), (128, 96)])
def test_half_body_box(input_size: tuple[int, int]) -> None:
    views = draw_views(known(*range(9)), half_body=1.0, scale=0.0, input_size=input_size)
    joints = JOINTS[:9]
    width, height = joints.max(0) - joints.min(0) + 1  # a box of pixels
    aspect = input_size[1] / input_size[0]
    width, height = max(width, aspect * height), max(height, width / aspect)
    np.testing.assert_allclose(views[0].center, joints.mean(0), rtol=1e-6)
    np.testing.assert_allclose(views[0].scale * 200, (1.5 * width, 1.5 * height), rtol=1e-5)


def test_no_augmentation_is_the_plain_view() -> None:
    plain = plain_view(BOX, (256, 192))
    for view in draw_views(np.ones(17, np.float32), half_body=0.0, scale=0.0, rotation=0.0, flip=0.0)[:50]:
        np.testing.assert_array_equal(view.center, plain.center)
        np.testing.assert_array_equal(view.scale, plain.scale)
        assert (view.rotation, view.mirrored) == (0.0, False)


@pytest.fixture
def marked(tmp_path: Path) -> tuple[Persons, ImageCache]:
    """One person of 17 bright spots on black, each of its own brightness by colour channel."""
    image = np.zeros((260, 200, 3), np.uint8)
    rng = np.random.default_rng(5)
    # A loose grid, so that no two spots can merge in the crop.
    cells = np.array([(35 + 40 * (k % 4), 30 + 48 * (k // 4)) for k in range(17)])
    joints = (cells + rng.integers(-6, 7, cells.shape)).astype(np.float32)
    for number, (x, y) in enumerate(joints.astype(int).tolist()):
        cv2.circle(image, (x, y), 4, (80 + 10 * number, 255 - 10 * number, 255), -1)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    persons = Persons(
        file_names=("a.png",),
        image_index=np.zeros(1, np.int64),
        boxes=np.float32([[10, 10, 175, 240]]),
        joints=joints[None],
        weights=np.ones((1, 17), np.float32),
        sources=np.array([""]),
        shares=np.ones(1),
    )
    return persons, ImageCache(tmp_path, persons.file_names, tmp_path / "cache")


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize(("half_body", "rotation"), [(0.0, 0.0), (0.0, 45.0), (1.0, 45.0)])
def test_joints_stay_on_their_pixels(
    marked: tuple[Persons, ImageCache], flip: float, half_body: float, rotation: float
) -> None:
    persons, images = marked
    recipe = Recipe("tp_r_a4", batch_size=1, flip=flip, half_body=half_body, rotation=rotation)
    seen = 0
    for epoch in range(12):
        crops, joints, weights = EpochBatches(persons, images, COCO17, recipe, epoch)[0]
        assert weights.min() == 1
        crop = crops[0].numpy().astype(np.float64)
        # px of the heatmap to px of the crop: first on first, last on last pixel centre
        places = joints[0].numpy() * (np.array([191, 255]) / np.array([47, 63]))
        for number, (x, y) in enumerate(places):
            if not (12 < x < 179 and 12 < y < 243):
                continue
            # A mirrored person's left wrist is where the right one's spot ends.
            spot = int(COCO17.mirrored[number]) if flip else number
            colour = np.array([80 + 10 * spot, 255 - 10 * spot, 255])
            left, top = int(x) - 12, int(y) - 12
            window = crop[top : top + 25, left : left + 25]
            own = np.abs(window - colour).max(2) < 5  # the next spot's colour is 10 away
            assert own.any(), f"joint {number} lost its spot in epoch {epoch}"
            rows, columns = np.nonzero(own)
            assert abs(columns.mean() + left - x) < 0.8
            assert abs(rows.mean() + top - y) < 0.8
            seen += 1
    assert seen > 50
