"""Scores as probabilities: the maps, how they are fitted and measured, and that they change no order of people."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blob_people import BlobDetector, joints_of, picture, write_blob_bundle
from drawn_people import coco_file, coco_person

from transpose_sdk import COCO17, PoseEstimator, Poses
from transpose_sdk.bundles.bundle import bundle_names, open_bundle
from transpose_sdk.bundles.writer import amend_bundle
from transpose_sdk.cli.main import main
from transpose_sdk.errors import BundleError, InputError
from transpose_sdk.scores import DEFAULT_MAPS, ScoreMap, ScoreMaps, person_scores

MAP = ScoreMap((0.0, 0.5, 1.25), (0.05, 0.7, 0.99))
MAPS = ScoreMaps(
    joints=(MAP,) * 9 + (ScoreMap((0, 1), (0.3, 0.4)),) * 8,
    given=ScoreMap((0, 1), (0.2, 0.9)),
    detected=ScoreMap((0, 1), (0.1, 0.8)),
)


# Maps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "probability", "said"),
    [
        ((0.0,), (0.5,), "1 raw scores and 1 probabilities: give two or more"),
        ((0.0, 1.0), (0.1, 0.5, 0.9), "2 raw scores and 3 probabilities"),
        ((0.0, 0.0), (0.1, 0.9), r"raw scores \[0.0, 0.0\] do not rise"),
        ((0.0, 1.0), (0.5, 0.5), r"probabilities \[0.5, 0.5\] do not rise"),  # level: people who differ would be one
        ((0.0, 1.0), (0.5, np.nan), "do not rise: give finite numbers"),
        ((0.0, 1.0), (-0.1, 0.9), "give numbers from 0 to 1"),
        ((0.0, 1.0), (0.1, 1.1), "give numbers from 0 to 1"),
    ],
)
def test_a_map_that_is_none(raw: tuple[float, ...], probability: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ScoreMap(raw, probability)


def test_a_map_is_straight_between_its_points_and_level_outside() -> None:
    scores = MAP(np.float32([[-1, 0, 0.25], [0.5, 1.25, 7]]))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0.05, 0.05, 0.375], [0.7, 0.99, 0.99]], atol=1e-6)


# In the estimator ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_blob_bundle(tmp_path_factory.mktemp("scores") / "blobs.tpose")
    amend_bundle(open_bundle(folder, "pose"), scores=asdict(MAPS))
    return folder


def test_scores_are_mapped_and_the_raw_ones_kept(bundle: Path, tmp_path: Path) -> None:
    boxes = [(20.0, 10.0, 60.0, 200.0), (150.0, 60.0, 40.0, 120.0)]
    image = picture(boxes)
    raw_bundle = write_blob_bundle(tmp_path / "raw.tpose")
    with (
        PoseEstimator(bundle, "CPU", detector=BlobDetector()) as estimator,
        PoseEstimator(raw_bundle, "CPU", detector=BlobDetector()) as without,
    ):
        assert estimator.describe()["scores"] == "probabilities"
        assert without.describe()["scores"] == "estimated"
        for given, kind in ((None, "detected"), (boxes, "given")):
            poses, other = estimator(image, given), without(image, given)
            raw, whole = poses.raw_scores, poses.raw_person_scores
            np.testing.assert_array_equal(raw, other.raw_scores)
            np.testing.assert_array_equal(whole, other.raw_person_scores)
            np.testing.assert_allclose(whole, person_scores(raw, None if given else np.float32([0.9, 0.9])), atol=1e-6)
            np.testing.assert_array_equal(poses.scores[:, :9], MAP(raw[:, :9]))
            np.testing.assert_allclose(poses.scores[:, 9:], 0.3 + 0.1 * raw[:, 9:], atol=1e-6)
            np.testing.assert_array_equal(poses.person_scores, getattr(MAPS, kind)(whole))
            np.testing.assert_array_equal(other.scores, DEFAULT_MAPS.joints[0](raw))
            np.testing.assert_array_equal(other.person_scores, getattr(DEFAULT_MAPS, kind)(whole))
            people = json.loads(json.dumps(poses.to_dict()))["people"]
            assert [one["raw_score"] for one in people] == pytest.approx(whole.tolist(), abs=1e-4)
            assert [one["score"] for one in people] == pytest.approx(poses.person_scores.tolist(), abs=1e-4)
            assert people[0]["raw_scores"] == pytest.approx(raw[0].tolist(), abs=1e-4)
        with_scores = estimator(image, boxes, box_scores=[1.0, 0.5])  # somebody's detector gave them
        np.testing.assert_array_equal(with_scores.person_scores, MAPS.detected(with_scores.raw_person_scores))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"joints": asdict(MAPS)["joints"]}, "scores"),  # of joints alone
        ({**asdict(MAPS), "joints": asdict(MAPS)["joints"][1:]}, "the scores of 16 joints, its skeleton has 17"),
        ({**asdict(MAPS), "given": {"raw": [0, 1], "probability": [0.9, 0.1]}}, "do not rise"),
        ({**asdict(MAPS), "detected": {"raw": ["a", "b"], "probability": [0.1, 0.9]}}, "scores.detected.raw"),
    ],
)
def test_maps_that_are_none_are_not_opened(tmp_path: Path, scores: dict[str, Any], said: str) -> None:
    folder = write_blob_bundle(tmp_path / "blobs.tpose")
    content = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**content, "scores": scores}))
    with pytest.raises(BundleError, match=said):
        open_bundle(folder, "pose")


# Right and wrong ----------------------------------------------------------------------------------------------------

torch = pytest.importorskip("torch", reason="evaluation belongs to training: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.trainers.evaluation.benchmark import Benchmark  # noqa: E402
from transpose_sdk.trainers.evaluation.evaluate import score  # noqa: E402
from transpose_sdk.trainers.evaluation.outcomes import outcomes  # noqa: E402
from transpose_sdk.trainers.evaluation.pairs import Answer  # noqa: E402
from transpose_sdk.trainers.evaluation.reliability import Bin, calibration_error, fit_map, reliability  # noqa: E402


def poses_of(joints: np.ndarray, scores: list[float]) -> Poses:
    """Poses of joints (N, 17, 2) in boxes around them, whose scores are half of the raw ones."""
    low, high = joints.min(1), joints.max(1)
    raw = np.float32(scores)
    return Poses(
        joints.astype(np.float32),
        np.repeat(raw[:, None] / 2, 17, axis=1),
        np.concatenate((low, high - low), 1).astype(np.float32),
        raw / 2,
        COCO17,
        raw_scores=np.repeat(raw[:, None], 17, axis=1),
        raw_person_scores=raw,
    )


def test_which_answers_are_right() -> None:
    figure, far = joints_of((0, 0, 60, 150)), np.array((300.0, 0.0))
    truth = Benchmark(
        coco_file(
            [{"id": 7, "file_name": "a.png", "person_boxes": [[598, 0, 64, 154, 0.6]]}],
            [coco_person(1, 7, figure), coco_person(2, 7, figure + far)],
        ),
        COCO17,
    )
    near = figure.copy()
    near[9:11] += 40  # the wrists are wrong, the pose is right
    asked = outcomes(truth, {7: Answer(poses_of(np.stack((figure + far, near)), [0.8, 0.4]), np.array([1, 0]))})
    assert asked.people_right.tolist() == [True, True]
    assert asked.raw_people.tolist() == pytest.approx([0.8, 0.4])
    assert asked.people.tolist() == pytest.approx([0.4, 0.2])
    assert np.flatnonzero(~asked.joints_right).tolist() == [17 + 9, 17 + 10]
    assert asked.joints.shape == (34,)
    exchanged = outcomes(truth, {7: Answer(poses_of(np.stack((figure + far, near)), [0.8, 0.4]), np.array([0, 1]))})
    assert not exchanged.people_right.any()
    assert not exchanged.joints_right.any()

    found = np.stack(
        (
            figure,  # right
            figure + 2,  # right too, but the person is taken by a better one
            figure + (0, 400),  # nobody is there
            figure + (600, 0),  # on somebody whose joints nobody labelled: nobody can say
        )
    )
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        scores = [(0.9, 0.8, 0.7, 0.6)[place] for place in order]
        detected = outcomes(truth, {7: Answer(poses_of(found[order], scores))})
        tenths = (10 * detected.raw_people).round().astype(int).tolist()
        assert dict(zip(tenths, detected.people_right.tolist(), strict=True)) == {9: True, 8: False, 7: False}
        assert detected.joints.shape == (17,)  # of who is right


def test_calibration_error() -> None:
    scores = np.float32([0.05, 0.15, 0.15, 0.95, 0.95, 0.95, 0.95])
    right = np.array([0, 0, 1, 1, 1, 1, 0], bool)
    rows = [Bin(1, pytest.approx(0.05), 0.0), Bin(2, pytest.approx(0.15), 0.5), Bin(4, pytest.approx(0.95), 0.75)]
    assert reliability(scores, right) == rows
    assert calibration_error(scores, right) == pytest.approx((0.05 + 2 * 0.35 + 4 * 0.2) / 7)
    assert calibration_error(scores[:0], right[:0]) == 0


@pytest.mark.parametrize("of_score", [lambda s: s**2, lambda s: 1 - (1 - s) ** 2, lambda s: 0.3 + 0.1 * s])
def test_a_fitted_map_rises_and_tells_the_probability(of_score: Any) -> None:
    rng = np.random.default_rng(0)
    raw = rng.random(20000).astype(np.float32)
    found = fit_map(raw, rng.random(20000) < of_score(raw))
    assert (np.diff(found.probability) > 0).all()
    grid = np.linspace(0, 1, 50, dtype=np.float32)
    assert np.abs(found(grid) - of_score(grid)).max() < 0.05
    # What was never seen, and what is always right, leave a map that can be used too
    for right in (np.ones(300, bool), np.zeros(300, bool)):
        assert (np.diff(fit_map(raw[:300] * 0.1 + 0.4, right).probability) > 0).all()


def test_average_precision_stays_as_it_is() -> None:
    """People's raw scores and their probabilities give the same numbers, to the last digit."""
    rng = np.random.default_rng(0)
    figure = joints_of((50, 50, 60, 150))
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(40)]
    people = [coco_person(n, n, figure) for n in range(40)]
    raw = rng.random(80).astype(np.float32)
    maps = fit_map(raw, rng.random(80) < raw)
    answers, mapped = {}, {}
    for n in range(40):
        joints = figure + rng.normal(0, 6, (2, 17, 2)) + [[[0, 0]], [[rng.uniform(0, 20), 0]]]
        poses = poses_of(joints, raw[2 * n : 2 * n + 2].tolist())
        answers[n] = Answer(replace(poses, person_scores=poses.raw_person_scores))
        mapped[n] = Answer(replace(poses, person_scores=maps(poses.raw_person_scores)))
    truth = Benchmark(coco_file(images, people), COCO17)
    numbers = score(truth, answers, (256, 192))
    assert 0 < numbers["AP"] < 1
    assert score(truth, mapped, (256, 192)) == numbers


# `transpose fit` ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dim_and_bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 200 images of one person each, all.json; the dim half's joints are annotated elsewhere."""
    folder = tmp_path_factory.mktemp("dim_and_bright")
    rng = np.random.default_rng(0)
    images, people = [], []
    box = (20.0, 10.0, 60.0, 140.0)
    for n in range(200):
        bright = rng.random()
        drawn = (picture([box], (160, 100)) * (0.8 + 0.2 * bright)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{n}.png"), drawn)
        wrong = rng.random() > bright
        images.append({"id": n, "file_name": f"{n}.png", "source": "far" if n < 20 else "near"})
        people.append(coco_person(n + 1, n, joints_of(box) + (200 * wrong, 0)))
        people[-1]["bbox"] = list(box)
    (folder / "all.json").write_text(json.dumps(coco_file(images, people)))
    return folder


def test_fit_makes_scores_probabilities(dim_and_bright: Path, tmp_path: Path) -> None:
    folder = write_blob_bundle(tmp_path / "blobs.tpose")
    data = ["--coco", str(dim_and_bright / "all.json"), "--images", str(dim_and_bright), "--device", "CPU"]
    out = tmp_path / "report.json"
    own = ["--bundle", str(folder), "--detector", "frame", "--json", str(out)]
    assert main(["fit", *data, *own]) == 0
    assert open_bundle(folder, "pose").scores is None  # not asked to write
    assert main(["fit", *data, *own, "--write"]) == 0
    report, maps = json.loads(out.read_text()), open_bundle(folder, "pose").scores
    assert maps is not None
    assert (
        maps.fitted_on == report["scores"]["fitted_on"] == "200 people of all.json, not trained on them; detector frame"
    )
    for name in ("joints", "given", "detected"):
        assert report[name]["error"] < min(0.12, report[name]["raw_error"])
    assert report["scores"] == json.loads(json.dumps(asdict(maps)))

    numbers = tmp_path / "numbers.json"
    assert main(["eval", *data, "--bundle", str(folder), "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())
    assert found["model"]["scores"] == "probabilities"
    assert found["scores"]["people"]["error"] < 0.1 < found["scores"]["people"]["raw_error"]
    assert found["scores"]["people"]["answers"] == sum(row[0] for row in found["scores"]["people"]["bins"]) == 200
    assert found["scores"]["joints"]["error"] < 0.1 < found["scores"]["joints"]["raw_error"]


def test_fit_says_what_is_missing(dim_and_bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_blob_bundle(tmp_path / "blobs.tpose")
    data = ["--coco", str(dim_and_bright / "all.json"), "--images", str(dim_and_bright), "--device", "CPU"]
    fit = ["fit", *data, "--bundle", str(folder), "--detector", "frame"]
    for more, said in (
        (["--sources", "far"], "answers are right, and 50 right ones and as many wrong ones are needed"),
        (["--sources", "lsp"], "no labelled person is in a share of 1 of the images of ['lsp']"),
        (["--share", "2"], "share 2.0: give one from 0 to 1"),
    ):
        assert main([*fit, *more]) == 2
        assert said in capsys.readouterr().err


def test_models_info_says_whose_maps_are_taken(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "info", str(bundle)]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == json.loads(json.dumps(asdict(MAPS)))
    assert main(["models", "info", str(write_blob_bundle(tmp_path / "blobs.tpose"))]) == 0
    assert json.loads(capsys.readouterr().out)["scores"].startswith("estimated by another network's maps")


@pytest.mark.parametrize("name", bundle_names("pose"))
def test_what_ships_has_its_own_maps(name: str) -> None:
    maps = open_bundle(name, "pose").scores
    assert maps is not None
    assert len(maps.joints) == 17
    assert maps.fitted_on
    # What users see: an unmistakable person is nearly certain, a false alarm nearly impossible.
    assert maps.detected(np.float32([0.05, 0.7])) == pytest.approx([0.0, 0.99], abs=0.02)
    assert maps.given(np.float32([0.8])) > 0.97
