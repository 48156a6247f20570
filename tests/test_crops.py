"""The crop transform: boxes, affines, warping and the way back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from transpose_sdk.crops import (
    apply_affine,
    boxes_to_centers_scales,
    check_boxes,
    crop_affines,
    heatmap_to_image,
    invert_affines,
    on_whole_pixels,
    warp_crops,
)
from transpose_sdk.errors import InputError

SIZE = (256, 192)


def published_affine(center: np.ndarray, scale: np.ndarray, rotation: float, size: tuple[int, int]) -> np.ndarray:
    """The published construction: three point pairs, the third a right angle, through cv2.getAffineTransform."""
    angle = np.pi * rotation / 180
    length = (200 * scale[0] - 1) * -0.5
    direction = np.array([-length * np.sin(angle), length * np.cos(angle)])
    middle = (np.array(size[::-1]) - 1) * 0.5
    source = np.float32([center, center + direction, (0, 0)])
    target = np.float32([middle, middle + (0, (size[1] - 1) * -0.5), (0, 0)])
    for points in (source, target):
        step = points[0] - points[1]
        points[2] = points[1] + (-step[1], step[0])
    return cv2.getAffineTransform(source, target)


@pytest.mark.parametrize(
    ("box", "center", "scale"),
    [
        ((10, 20, 91, 121), (55, 80), (0.56875, 0.7583333)),  # wide enough: the height grows
        ((0, 0, 51, 201), (25, 100), (0.9421875, 1.25625)),  # tall: the width grows
        ((100, 50, 30, 40), (114.5, 69.5), (0.1875, 0.25)),  # already in the aspect of the input
        ((-20, -30, 96, 128), (27.5, 33.5), (0.6, 0.8)),  # partly outside the image
    ],
)
def test_boxes_to_centers_scales(box: tuple, center: tuple, scale: tuple) -> None:
    centers, scales = boxes_to_centers_scales([box], SIZE)
    np.testing.assert_allclose(centers, [center])
    np.testing.assert_allclose(scales, [scale], rtol=1e-6)
    assert centers.dtype == scales.dtype == np.float32


@pytest.mark.parametrize("size", [SIZE, (64, 48), (128, 96)])
@pytest.mark.parametrize("rotation", [0.0, 30.0, -75.5])
def test_affines_equal_published_construction(size: tuple[int, int], rotation: float) -> None:
    centers = np.float32([[300.5, 200], [55, 80.25]])
    scales = np.float32([[0.8, 1.0666667], [1.5, 2.0]])
    affines = crop_affines(centers, scales, size, rotation)
    expected = [published_affine(c, s, rotation, size) for c, s in zip(centers, scales, strict=True)]
    np.testing.assert_allclose(affines, expected, atol=2e-4)


def test_source_length_maps_to_target_length() -> None:
    affine = crop_affines([[100, 200]], [[1.0, 4 / 3]], SIZE)[0]
    ends = apply_affine([[100 - 199 / 2, 200], [100 + 199 / 2, 200], [100, 200]], affine)
    np.testing.assert_allclose(ends, [[0, 127.5], [191, 127.5], [95.5, 127.5]], atol=1e-9)


def test_rotation_is_taken_per_box() -> None:
    args = ([[100, 200], [100, 200]], [[1.0, 4 / 3]] * 2, SIZE)
    affines = crop_affines(*args, rotations=[0, 90])
    np.testing.assert_allclose(affines[0], crop_affines(*args)[0])
    # Up in the crop is right in the image: turned clockwise by 90 degrees.
    np.testing.assert_allclose(apply_affine([[150, 200]], affines[1]), [[95.5, 127.5 - 50 * 191 / 199]])


def test_tiny_box_gives_a_finite_affine() -> None:
    affines = crop_affines(*boxes_to_centers_scales([[5, 5, 0.1, 0.1]], SIZE), SIZE)
    assert np.isfinite(affines).all()
    assert np.isfinite(invert_affines(affines)).all()


def test_inverse_and_batched_points() -> None:
    affines = crop_affines([[300, 200], [50, 80]], [[0.8, 1.07], [1.5, 2.0]], SIZE, [20, -40])
    points = np.random.default_rng(0).uniform(0, 200, (2, 5, 2))
    there = apply_affine(points, affines)
    np.testing.assert_allclose(there[1], apply_affine(points[1], affines[1]))
    np.testing.assert_allclose(apply_affine(there, invert_affines(affines)), points)


def test_heatmap_and_input_share_the_formula() -> None:
    center, scale = np.float32([[320, 240]]), np.float32([[0.9, 1.2]])
    on_input = np.array([[[191.0, 255.0], [40.0, 77.0]]])
    on_heatmap = on_input * (47 / 191, 63 / 255)
    expected = apply_affine(on_input, invert_affines(crop_affines(center, scale, SIZE)))
    # The input keeps the aspect 191:255 and the heatmap 47:63, so y differs by the published 0.1 %.
    actual = heatmap_to_image(on_heatmap, center, scale, (64, 48))
    np.testing.assert_allclose(actual[..., 0], expected[..., 0], atol=1e-3)
    np.testing.assert_allclose(actual[..., 1], expected[..., 1], atol=0.5)
    assert actual.dtype == np.float32


def test_warp_writes_into_out_and_is_black_outside() -> None:
    image = np.random.default_rng(0).integers(1, 255, (120, 160, 3), dtype=np.uint8)
    affines = crop_affines(*boxes_to_centers_scales([[20, 10, 90, 100], [-60, -60, 100, 100]], (64, 48)), (64, 48))
    out = np.full((2, 64, 48, 3), 255, np.uint8)
    crops = warp_crops(image, affines, (64, 48), out)
    assert crops is out
    for crop, affine in zip(crops, affines, strict=True):
        np.testing.assert_array_equal(crop, cv2.warpAffine(image, affine, (48, 64), flags=cv2.INTER_LINEAR))
    assert not crops[1, 0, 0].any()
    np.testing.assert_array_equal(warp_crops(image, affines, (64, 48)), out)
    assert warp_crops(image, affines[:0], (64, 48)).shape == (0, 64, 48, 3)


def bilinear(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The crop as the formula says, where all of it lies within the image's outermost pixel centres."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    places = apply_affine(np.stack((columns, rows), -1).reshape(-1, 2), invert_affines(affine[None])[0])
    places = np.clip(places, 0, np.array(image.shape[1::-1]) - 1)
    corner = np.minimum(places.astype(int), np.array(image.shape[1::-1]) - 2)
    (x, y), (dx, dy) = corner.T, (places - corner).T[..., None]
    pixels = image.astype(float)
    upper = pixels[y, x] * (1 - dx) + pixels[y, x + 1] * dx
    lower = pixels[y + 1, x] * (1 - dx) + pixels[y + 1, x + 1] * dx
    return (upper * (1 - dy) + lower * dy).reshape(*size, 3)


@pytest.mark.parametrize("size", [(64, 48), (256, 192), (256, 256)])
@pytest.mark.parametrize("box", [[120.3, 80.7, 60, 200], [37, 41.2, 31.4, 17], [151.5, 200, 210.7, 80]])
def test_crops_of_whole_pixels_are_exact(
    size: tuple[int, int], box: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (500, 600, 3), dtype=np.uint8)
    exact = boxes_to_centers_scales([box], size)
    centers, scales = on_whole_pixels(*exact, size)
    assert np.abs(centers - exact[0]).max() <= 0.5
    # A whole number of g-ths of an image px for each px of the crop.
    assert np.abs(scales - exact[1])[0, 0] * 200 <= (size[1] - 1) / (2 * np.gcd(*size)) + 1e-3
    affines = crop_affines(centers, scales, size)
    monkeypatch.setattr(cv2, "warpAffine", None)  # must not be needed
    crop, expected = warp_crops(image, affines, size)[0], bilinear(image, affines[0], size)
    edge = int(affines[0, 0, 0] / 2) + 1  # half a pixel of the image, which the crop does not look beyond
    assert np.abs(crop - expected)[edge:-edge, edge:-edge].max() <= 1.5
    again = on_whole_pixels(centers, scales, size)
    np.testing.assert_array_equal(again, (centers, scales))


def test_crops_of_whole_pixels_that_leave_the_image_are_warped() -> None:
    image = np.random.default_rng(0).integers(1, 255, (120, 160, 3), dtype=np.uint8)
    affines = crop_affines(*on_whole_pixels(*boxes_to_centers_scales([[-20, 10, 60, 100]], SIZE), SIZE), SIZE)
    expected = cv2.warpAffine(image, affines[0], SIZE[::-1], flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(warp_crops(image, affines, SIZE)[0], expected)


def test_warp_keeps_an_image_that_already_fits() -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    affines = crop_affines([[23.5, 31.5]], [[48 / 200, 64 / 200]], (64, 48))
    np.testing.assert_array_equal(warp_crops(image, affines, (64, 48))[0], image)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 64, 48, 3), np.uint8),  # another number of people
        np.empty((1, 64, 48, 3), np.float32),  # another type
        np.empty((1, 64, 96, 3), np.uint8)[:, :, ::2],  # not contiguous: cv2 would write into a copy
    ],
)
def test_unusable_out_is_refused(out: np.ndarray) -> None:
    affines = crop_affines([[23.5, 31.5]], [[1, 1.3]], (64, 48))
    with pytest.raises(InputError, match="out has shape"):
        warp_crops(np.zeros((64, 48, 3), np.uint8), affines, (64, 48), out)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 10, 10], [0, 0, 10, -1]], "box 1 of 2.*no area"),
        ([[0, 0, 0, 10]], "box 0 of 1.*no area"),
        ([[0, np.nan, 10, 10]], "box 0 of 1.*not finite"),
        ([[0, 0, np.inf, 10]], "not finite"),
        ([0, 0, 10, 10], r"shape \(4,\)"),
        (np.zeros((2, 5)), r"shape \(2, 5\)"),
        ([["a", 0, 1, 2]], "not numbers"),
        ([[0, 0, 1, 1], [100, 0, 10, 10]], "box 1 of 2.*outside the image of 100 x 50"),  # right of it
        ([[0, -20, 10, 20]], "outside the image"),  # above it
    ],
)
def test_unusable_boxes_are_refused(boxes: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_boxes(boxes, (50, 100))  # type: ignore[arg-type]


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4))])
def test_no_boxes(boxes: object) -> None:
    centers, scales = boxes_to_centers_scales(boxes, SIZE)  # type: ignore[arg-type]
    assert (centers.shape, scales.shape) == ((0, 2), (0, 2))
    assert crop_affines(centers, scales, SIZE).shape == (0, 2, 3)
    assert heatmap_to_image(np.zeros((0, 17, 2)), centers, scales, (64, 48)).shape == (0, 17, 2)
