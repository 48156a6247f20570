"""COCO's ten numbers: perfect heatmaps, hand-made cases, who is left out, and files that lack what COCO has."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import FIGURE, coco_file, coco_person, write_people
from numpy.typing import NDArray

pytest.importorskip("torch", reason="evaluation belongs to training: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.backend import Outputs
from transpose_sdk.crops import apply_affine, boxes_to_centers_scales, crop_affines
from transpose_sdk.errors import DataError
from transpose_sdk.media.coco import COCO_NUMBERS, coco_error, coco_numbers
from transpose_sdk.media.image_file import AnnotatedImages
from transpose_sdk.skeletons import COCO17
from transpose_sdk.topdown import flip_average
from transpose_sdk.trainers.evaluation.benchmark import Benchmark
from transpose_sdk.trainers.evaluation.evaluate import evaluate_boxes

SIZE = (256, 192)
MAP = (64, 48)


def render(joints: NDArray[np.floating]) -> NDArray[np.float32]:
    """Heatmaps (N, K, 64, 48) of joints (N, K, 2) in heatmap px."""
    rows, columns = np.mgrid[: MAP[0], : MAP[1]]
    x, y = joints[..., 0, None, None], joints[..., 1, None, None]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)


def in_heatmap(box: Any, joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Joints of an image in px of the heatmap of a person's crop."""
    return apply_affine(joints, crop_affines(*boxes_to_centers_scales([box], SIZE), MAP)[0])


def joints_of(person: dict[str, Any]) -> NDArray[np.float64]:
    return np.reshape(person["keypoints"], (17, 3))[:, :2].astype(np.float64)


def result(person: dict[str, Any], score: float, shift: float = 0.0) -> dict[str, Any]:
    """A COCO result `shift` px off the person's joints."""
    joints = joints_of(person) + (shift, 0)
    rows = np.concatenate((joints, np.ones((17, 1))), 1)
    row = {"category_id": 1, "keypoints": rows.ravel().tolist(), "score": score}
    return {"image_id": person["image_id"], **row}


def two_people() -> dict[str, Any]:
    """A large and a medium person in one image: 60 x 150 px and 30 x 75 px."""
    large, medium = FIGURE * (60, 150) + 20, FIGURE * (30, 75) + (150, 60)
    people = [coco_person(1, 7, large), coco_person(2, 7, medium)]
    for person, area in zip(people, (10000.0, 3000.0), strict=True):
        person["area"] = area  # COCO: medium is 32^2 to 96^2
    return coco_file([{"id": 7, "file_name": "a.png", "width": 260, "height": 200}], people)


def test_perfect_heatmaps_reach_full_precision(tmp_path: Path) -> None:
    truth = write_people(tmp_path, "val", 5, seed=1)
    people = iter(truth["annotations"])

    def infer(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert crops.shape[1:] == (*SIZE, 3)
        persons = [next(people) for _ in crops]
        return render(np.stack([in_heatmap(person["bbox"], joints_of(person)) for person in persons]))

    numbers = evaluate_boxes(infer, Benchmark(truth, COCO17), AnnotatedImages(tmp_path / "val", {}), SIZE)
    assert tuple(numbers) == COCO_NUMBERS
    assert numbers["AP"] > 0.99
    assert numbers["AR"] > 0.99
    assert next(people, None) is None


def oks(person: dict[str, Any], shift: float) -> float:
    """Object keypoint similarity of joints that are all `shift` px off."""
    variances = (2 * np.array(COCO17.sigmas)) ** 2
    return float(np.mean(np.exp(-(shift**2) / (2 * person["area"] * variances))))


@pytest.mark.parametrize(
    ("shifts", "scores", "expected"),
    [
        # both right
        ((0.0, 0.0), (0.9, 0.8), {"AP": 1, "AP50": 1, "AP75": 1, "AP_medium": 1, "AP_large": 1, "AR": 1}),
        # one found, and with full precision: 51 of the 101 points of recall, 0 to .5
        ((0.0, None), (0.9, 0.8), {"AP": 51 / 101, "AR": 0.5, "AP_large": 1, "AR_medium": 0}),
        # a false person above both true ones: precision 1/2, then 2/3, and 2/3 from the right everywhere
        ((500.0, 0.0, 0.0), (0.99, 0.9, 0.8), {"AP": 2 / 3, "AR": 1}),
        # a false person below both costs nothing
        ((500.0, 0.0, 0.0), (0.1, 0.9, 0.8), {"AP": 1, "AR": 1}),
        # the same person twice: the second one is false
        ((0.0, 0.0, None), (0.9, 0.8, 0.7), {"AP": 51 / 101}),
    ],
)
def test_hand_made_cases(
    shifts: tuple[float | None, ...], scores: tuple[float, ...], expected: dict[str, float]
) -> None:
    truth = two_people()
    large, medium = truth["annotations"]
    owners = {2: (large, medium), 3: (large, large, medium)}[len(shifts)]
    rows = [
        result(owner, score, shift)
        for owner, score, shift in zip(owners, scores, shifts, strict=True)
        if shift is not None
    ]
    numbers = coco_numbers(truth, rows, COCO17)
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("shift", [2.0, 5.0, 9.0, 14.0])
def test_precision_counts_the_thresholds_that_oks_passes(shift: float) -> None:
    truth = two_people()
    large = truth["annotations"][0]
    truth["annotations"] = [large]
    passed = np.mean(oks(large, shift) >= np.linspace(0.5, 0.95, 10))
    assert 0 < passed <= 1
    assert coco_numbers(truth, [result(large, 0.9, shift)], COCO17)["AP"] == pytest.approx(passed)


def test_area_of_a_result_is_that_of_its_joints() -> None:
    """An unmatched result counts against the sizes that it has, and a box would give it another size."""
    truth = two_people()
    large, medium = truth["annotations"]
    false = result(large, 0.99, 500.0)  # 52 x 137 px of joints: medium
    rows = [false, result(large, 0.9), result(medium, 0.8)]
    bare = coco_numbers(truth, rows, COCO17)
    assert bare["AP_medium"] < 1
    assert bare["AP_large"] == pytest.approx(1)
    boxed = [{**row, "bbox": [0.0, 0.0, 260.0, 200.0]} for row in rows]
    assert coco_numbers(truth, boxed, COCO17) == bare


def test_no_results() -> None:
    assert coco_numbers(two_people(), [], COCO17) == dict.fromkeys(COCO_NUMBERS, 0.0)


def test_crowds_and_unlabelled_persons_are_left_out() -> None:
    truth = two_people()
    large, medium = truth["annotations"]
    crowd = {**copy.deepcopy(large), "id": 3, "iscrowd": 1}
    unlabelled = {**copy.deepcopy(medium), "id": 4, "keypoints": [0] * 51, "num_keypoints": 0}
    flat = {**copy.deepcopy(medium), "id": 5, "bbox": [5.0, 5.0, 0.0, 10.0]}
    without = {name: value for name, value in medium.items() if name not in ("keypoints", "num_keypoints")}
    truth["annotations"] += [crowd, unlabelled, flat, {**without, "id": 6}]
    assert Benchmark(truth, COCO17).people == {7: [large, medium]}
    # and they are no people to be missed
    truth["annotations"].remove(flat)
    assert coco_numbers(truth, [result(large, 0.9), result(medium, 0.8)], COCO17)["AP"] == pytest.approx(1)


def test_files_that_lack_what_coco_has() -> None:
    """No area, ids, counts or categories, and a category of another number: the same numbers, and nothing written."""
    truth = two_people()
    for person in truth["annotations"]:
        person["area"] = person["bbox"][2] * person["bbox"][3]
    rows = [result(truth["annotations"][0], 0.9, 6.0), result(truth["annotations"][1], 0.8)]
    expected = coco_numbers(truth, rows, COCO17)
    kept = ("image_id", "bbox", "keypoints")
    bare = {
        "images": truth["images"],
        "annotations": [{name: person[name] for name in kept} for person in truth["annotations"]],
    }
    before = copy.deepcopy((bare, rows))
    assert coco_numbers(bare, rows, COCO17) == expected
    assert (bare, rows) == before
    for person in bare["annotations"]:
        person["category_id"] = 5
    assert coco_numbers({**bare, "categories": [{"id": 5, "name": "dancer"}]}, rows, COCO17) == expected


def test_flip_test_swaps_pairs_and_mirrors() -> None:
    """A network that answers to the brightest column: mirrored crops must come back to the same place."""
    joints = np.stack((np.linspace(3, 44, 17), np.linspace(5, 58, 17)), 1)
    crops = np.zeros((1, *SIZE, 3), np.uint8)
    crops[0, :, 0] = 255  # tells the crop from its mirror image

    def infer(given: NDArray[np.uint8]) -> Outputs:
        mirrored = given[0, 0, 0, 0] == 0
        assert given[0, 0, -1 if mirrored else 0, 0] == 255
        seen = joints.copy()
        if mirrored:  # the left wrist of the mirror image is the right one
            seen = joints[COCO17.mirrored]
            seen[:, 0] = MAP[1] - 1 - seen[:, 0]
        heatmaps = render(seen[None])
        return Outputs(heatmaps * (3 if mirrored else 1))

    halves = [infer(given).heatmaps for given in (crops, crops[:, :, ::-1])]
    averaged = flip_average(Outputs(np.concatenate(halves)), COCO17).heatmaps
    np.testing.assert_allclose(averaged, 2 * render(joints[None]), atol=1e-6)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_unreadable_images_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read the image .*a\.png"):
        AnnotatedImages(tmp_path, {})("a.png")


def test_standard_error_is_that_of_images_drawn_again() -> None:
    """Against pycocotools on the images that are drawn, each as an image of its own."""
    rng = np.random.default_rng(3)
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(6)]
    people, rows = [], []
    for number in range(6):
        for _ in range(rng.integers(1, 4)):
            joints = np.concatenate((rng.uniform(0, 100, (17, 2)), np.full((17, 1), 2.0)), axis=1)
            box = [0.0, 0.0, 100.0, 100.0]
            people.append({"image_id": number, "bbox": box, "area": 5000.0, "keypoints": joints.ravel().tolist()})
            joints[:, :2] += rng.normal(0, 6, (17, 2))
            score = float(rng.uniform())
            rows.append({"image_id": number, "category_id": 1, "keypoints": joints.ravel().tolist(), "score": score})
    truth = {"images": images, "annotations": people}
    precisions = []
    for times in np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), 30):
        drawn = [(source, new) for new, source in enumerate(np.repeat(np.arange(6), times))]
        again = {
            "images": [{"id": new, "file_name": f"{new}.png"} for _, new in drawn],
            "annotations": [
                item | {"image_id": new} for old, new in drawn for item in people if item["image_id"] == old
            ],
        }
        found = [row | {"image_id": new} for old, new in drawn for row in rows if row["image_id"] == old]
        precisions.append(coco_numbers(again, found, COCO17)["AP"])
    assert coco_error(truth, rows, COCO17, resamples=30) == pytest.approx(np.std(precisions, ddof=1), rel=1e-6)
    assert np.std(precisions) > 0.01
    assert coco_error(truth, [], COCO17) == 0
