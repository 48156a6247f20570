"""Crops made on the network's device against those of OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_people import write_people

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")

from transpose_sdk.crops import crop_affines  # noqa: E402
from transpose_sdk.skeletons import COCO17  # noqa: E402
from transpose_sdk.trainers.data.batches import EpochBatches  # noqa: E402
from transpose_sdk.trainers.data.image_cache import ImageCache  # noqa: E402
from transpose_sdk.trainers.data.persons import load_persons  # noqa: E402
from transpose_sdk.trainers.data.warp import Regions, cut_region, warp_regions  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402

SIZE = (64, 48)


def warped(images: list[np.ndarray], affines: np.ndarray) -> np.ndarray:
    parts = [cut_region(image, affine, SIZE) for image, affine in zip(images, affines, strict=True)]
    regions = Regions(
        torch.from_numpy(np.concatenate([region.reshape(-1, 3) for region, _ in parts])),
        torch.tensor([region.shape[:2] for region, _ in parts]),
        torch.from_numpy(np.stack([affine for _, affine in parts]).astype(np.float32)),
    )
    return warp_regions(regions, SIZE).numpy()


@pytest.mark.parametrize(
    ("center", "scale", "rotation"),
    [
        ((60, 75), 0.4, 0),  # inside the image
        ((60, 75), 0.2, 33),  # enlarged and turned
        ((60, 75), 3.0, -80),  # the image is a small part of the crop
        ((5, 148), 0.5, 20),  # over a corner
        ((119, 0), 0.3, 170),
        ((-300, 900), 0.3, 10),  # nothing but black
    ],
)
def test_crops_are_those_of_opencv(center: tuple[float, float], scale: float, rotation: float) -> None:
    rng = np.random.default_rng(5)
    image = cv2.GaussianBlur(rng.integers(0, 256, (150, 120, 3), np.uint8), (0, 0), 2)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    affines = crop_affines([center], [(scale, scale)], SIZE, rotation)
    expected = cv2.warpAffine(image, affines[0], SIZE[::-1])
    crop = warped([image], affines)[0]
    # OpenCV rounds places to 1/32 px, which at an edge of the image is 8 of 255.
    difference = np.abs(crop.astype(int) - expected)
    assert difference.max() <= 9
    assert difference.mean() <= 0.5
    assert (expected.max() == 0) == (scale == 0.3 and rotation == 10)


def test_regions_are_no_larger_than_needed() -> None:
    image = np.zeros((1000, 2000, 3), np.uint8)
    affine = crop_affines([(700, 500)], [(0.24, 0.32)], SIZE)[0]
    region, inverse = cut_region(image, affine, SIZE)
    assert region.shape[0] <= 64 + 4
    assert region.shape[1] <= 48 + 4
    middle = inverse @ (23.5, 31.5, 1) + (0, 0)
    assert np.all((middle > 0) & (middle < region.shape[1::-1]))


def test_batches_are_the_same_wherever_they_are_warped(tmp_path: Path) -> None:
    """The same people, mirrored and turned alike, with the same joints to the bit."""
    write_people(tmp_path, "train", 12, seed=1)
    persons = load_persons(tmp_path / "train.json", COCO17)
    images = ImageCache(tmp_path / "train", persons.file_names, tmp_path / "cache")
    options = {"input_size": SIZE, "batch_size": 12, "rotation_probability": 1.0, "half_body": 0.5, "seed": 4}
    ours = EpochBatches(persons, images, COCO17, Recipe("tp_m", device_augmentation=True, **options), 3)[0]
    opencv = EpochBatches(persons, images, COCO17, Recipe("tp_m", **options), 3)[0]
    assert torch.equal(ours.joints, opencv.joints)
    assert torch.equal(ours.weights, opencv.weights)
    assert isinstance(ours.crops, Regions)
    assert sum(ours.crops.sizes.prod(1)) == len(ours.crops.pixels)
    difference = (warp_regions(ours.crops, SIZE).int() - opencv.crops.int()).abs().float()
    assert opencv.crops.float().std() > 20
    assert difference.mean() < 1  # thin lines on noise: 1/32 px of a step of 200 is 6
    assert difference.amax((1, 2, 3)).max() < 25
