"""PCKh, PCK, tables and pictures against arithmetic by hand; networks of other skeletons, trained and evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blob_people import COLORS, write_blob_bundle
from drawn_people import coco_file, write_people
from numpy.typing import NDArray
from scipy.io import savemat

torch = pytest.importorskip("torch", reason="evaluation belongs to training: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.cli.main import main  # noqa: E402
from transpose_sdk.errors import DataError  # noqa: E402
from transpose_sdk.poses import Poses  # noqa: E402
from transpose_sdk.skeletons import COCO17, LSP14, MPII16, Skeleton  # noqa: E402
from transpose_sdk.trainers.evaluation.benchmark import Benchmark, read_benchmark  # noqa: E402
from transpose_sdk.trainers.evaluation.evaluate import answers_to_boxes, image_reader, read_detections, score  # noqa: E402
from transpose_sdk.trainers.evaluation.pairs import Answer, correct_shares, joint_table, pair_up, size_table, text_table  # noqa: E402
from transpose_sdk.trainers.evaluation.worst import CAPTION, COLUMNS, TILE, worst_persons, write_worst  # noqa: E402
from transpose_sdk.trainers.loop import train  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402

HEAD = 10.0  # px, of every person: 0.6 * hypot(10, 13.33)
TINY: dict[str, Any] = {
    "model": "tp_m",
    "variant": {"layers": 1, "d_model": 32, "ffn": 32, "heads": 4},
    "input_size": (64, 48),
    "epochs": 1,
    "batch_size": 4,
}


def poses_of(joints: NDArray[np.floating], skeleton: Skeleton) -> Poses:
    """Certain poses at joints (N, K, 2)."""
    count = len(joints)
    boxes = np.tile(np.float32([0, 0, 100, 100]), (count, 1))
    ones = np.ones((count, len(skeleton)), np.float32)
    return Poses(joints.astype(np.float32), ones, boxes, np.ones(count, np.float32), skeleton)


# MPII ---------------------------------------------------------------------------------------------------------------


def write_mpii(folder: Path, joints: NDArray[np.floating], missing: NDArray[np.int_], size: tuple[int, int]) -> Path:
    """valid.json, gt_valid.mat and black images of (height, width) with one person of joints (N, 16, 2) each."""
    folder.mkdir()
    items = []
    for number, places in enumerate(joints):
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), np.zeros((*size, 3), np.uint8))
        # The list's joints are not those that are scored.
        stale = {"joints": np.zeros((16, 2)).tolist(), "joints_vis": [1] * 16}
        items.append({"image": name, **stale, "center": (places.mean(0) + 1).tolist(), "scale": 0.5})
    (folder / "valid.json").write_text(json.dumps(items))
    corner = np.zeros((2, len(joints)))
    diagonal = np.tile([[6 / 0.6], [8 / 0.6]], (1, len(joints)))  # of length HEAD / 0.6
    savemat(
        folder / "gt_valid.mat",
        {
            "pos_gt_src": joints.transpose(1, 2, 0) + 1,
            "jnt_missing": missing.T,
            "headboxes_src": np.stack((corner, corner + diagonal)),
        },
    )
    return folder / "valid.json"


def test_pckh_by_hand(tmp_path: Path) -> None:
    """Three persons; errors are chosen around the thresholds 0.5 and 0.11 of a head of 10 px."""
    rng = np.random.default_rng(0)
    joints = rng.uniform(20, 90, (3, 16, 2))
    missing = np.zeros((3, 16), int)
    missing[0, 3] = missing[2, 9] = 1
    errors = np.tile([1.05, 1.15, 4.95, 5.05], (3, 4))  # px: right at .11 and .5, at .5, at .5, never
    errors[1] = 0
    errors[:, 6:8] = 99  # pelvis and thorax don't count
    found = joints + errors[..., None] * (0.6, -0.8)
    truth = read_benchmark(write_mpii(tmp_path / "mpii", joints, missing, (110, 110)), MPII16)
    assert (truth.kind, truth.main) == ("mpii", "PCKh@0.5")

    def pose(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Poses:
        # A square of 200 px times the scale around the centre, 15 px times the scale below the given one
        person = int(np.argmin(np.abs(joints.mean(1) + (0, 7.5) - (boxes[0, :2] + 49.5)).sum(1)))
        np.testing.assert_allclose(boxes, [[*(joints[person].mean(0) + (0, 7.5) - 49.5), 100, 100]], atol=1e-3)
        return poses_of(found[person : person + 1], MPII16)

    answers = answers_to_boxes(pose, truth, image_reader(tmp_path / "mpii", truth))
    counted = [joint for joint in range(16) if joint not in (6, 7)]
    close = dict.fromkeys(("PCKh@0.5", "PCKh@0.1"), 0)
    total = 0
    for person in range(3):
        for joint in counted:
            if not missing[person, joint]:
                total += 1
                close["PCKh@0.5"] += errors[person, joint] / HEAD <= 0.5
                close["PCKh@0.1"] += errors[person, joint] / HEAD <= 0.11
    assert total == 3 * 14 - 2
    numbers = score(truth, answers, (256, 256))
    assert numbers == pytest.approx({name: hits / total for name, hits in close.items()})
    assert 0.3 < numbers["PCKh@0.1"] < numbers["PCKh@0.5"] < 1
    table = joint_table(pair_up(truth, answers), "mpii")
    assert table["left_hip"]["labelled"] == 2
    assert table["left_hip"]["PCKh@0.5"] == 0.5  # 5.05 px and 0
    assert table["pelvis"]["PCKh@0.5"] == 0  # it is in the table, and not in the mean


def test_a_coco_network_is_scored_on_the_joints_it_shares_with_mpii(tmp_path: Path) -> None:
    joints = np.random.default_rng(1).uniform(20, 90, (2, 16, 2))
    path = write_mpii(tmp_path / "mpii", joints, np.zeros((2, 16), int), (110, 110))
    truth = read_benchmark(path, COCO17)
    shared = [name for name in COCO17.names if name in MPII16.names]
    found = np.zeros((2, 17, 2))
    for name in shared:
        found[:, COCO17.index(name)] = joints[:, MPII16.index(name)] + (0 if "wrist" not in name else 50)
    answers = {key: Answer(poses_of(found[key - 1][None], COCO17), np.array([0])) for key in (1, 2)}
    pairs = pair_up(truth, answers)
    assert set(joint_table(pairs, "mpii")) == set(shared)
    assert correct_shares(pairs, "mpii")["PCKh@0.5"] == pytest.approx(10 / 12)


def test_mpii_without_heads(tmp_path: Path) -> None:
    path = write_mpii(tmp_path / "mpii", np.full((2, 16, 2), 9.0), np.zeros((2, 16), int), (20, 20))
    savemat(path.with_name("gt_valid.mat"), {"pos_gt_src": np.zeros((16, 2, 5))})
    with pytest.raises(DataError, match=r"gt_valid\.mat is not MPII's"):
        read_benchmark(path, MPII16)
    path.with_name("gt_valid.mat").unlink()
    with pytest.raises(DataError, match=r"tells no head sizes, which PCKh needs: put MPII's gt_valid\.mat beside"):
        read_benchmark(path, MPII16)


# LSP ----------------------------------------------------------------------------------------------------------------


def lsp_file(path: Path) -> NDArray[np.float64]:
    """Two persons of LSP's joints, 50 px from left shoulder to right hip; the second has no right hip. Their joints."""
    joints = np.random.default_rng(2).uniform(10, 90, (2, 14, 2))
    joints[:, LSP14.index("left_shoulder")] = (70, 20)
    joints[:, LSP14.index("right_hip")] = (40, 60)
    annotations = []
    for number, places in enumerate(joints):
        rows = np.concatenate((places, np.full((14, 1), 2)), axis=1)
        rows[LSP14.index("right_hip"), 2] = 0 if number else 2
        person = {"id": number + 1, "image_id": number + 1, "bbox": [5, 5, 90, 90], "lsp_joints": rows.ravel().tolist()}
        annotations.append({**person, "keypoints": [0] * 51})
    images = [{"id": number, "file_name": f"{number}.png"} for number in (1, 2)]
    path.write_text(json.dumps(coco_file(images, annotations)))
    return joints


def test_pck_by_hand(tmp_path: Path) -> None:
    joints = lsp_file(tmp_path / "lsp.json")
    errors = np.tile([9.9, 10.1], (2, 7))  # a fifth of the torso is 10 px
    found = joints + errors[..., None] * (0, 1)
    truth = read_benchmark(tmp_path / "lsp.json", LSP14, "lsp")
    answers = {key: Answer(poses_of(found[key - 1][None], LSP14), np.array([0])) for key in (1, 2)}
    pairs = pair_up(truth, answers)
    # The second person has no torso to measure by.
    assert score(truth, answers, (256, 192)) == {"PCK@0.2": pytest.approx(7 / 14)}
    table = joint_table(pairs, "lsp")
    assert [table[name]["PCK@0.2"] for name in LSP14.names] == [1, 0] * 7
    # Of COCO's joints a network has twelve.
    twelve = read_benchmark(tmp_path / "lsp.json", COCO17, "lsp")
    assert [sum(item["keypoints"][2::3]) / 2 for item in twelve.content["annotations"]] == [12, 11]


def test_pck_needs_a_torso(tmp_path: Path) -> None:
    write_people(tmp_path, "val", 1, seed=0)
    content = json.loads((tmp_path / "val.json").read_text())
    content["categories"] = [{"id": 1, "keypoints": [f"joint_{k}" for k in range(17)]}]
    (tmp_path / "val.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="no left_shoulder and right_hip"):
        read_benchmark(tmp_path / "val.json", COCO17, "lsp")


# Pairs, tables, pictures --------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> tuple[Benchmark, Path]:
    """Three drawn persons in three images; the second image cannot be read."""
    write_people(tmp_path, "val", 3, seed=3)
    (tmp_path / "val" / "002.png").write_bytes(b"no picture")
    return read_benchmark(tmp_path / "val.json", COCO17), tmp_path / "val"


def exact(truth: Benchmark, shift: float = 0.0) -> dict[int, Answer]:
    joints = {item["image_id"]: np.reshape(item["keypoints"], (17, 3))[:, :2] for item in truth.content["annotations"]}
    return {key: Answer(poses_of(places[None] + (shift, 0), COCO17)) for key, places in joints.items()}


def test_detected_poses_find_their_person(three: tuple[Benchmark, Path]) -> None:
    truth, _ = three
    answers = exact(truth)
    far, near = answers[1].poses.keypoints + 40, answers[1].poses.keypoints + 1
    answers[1] = Answer(poses_of(np.concatenate((far, near)), COCO17))
    del answers[3]
    pairs = pair_up(truth, answers)
    np.testing.assert_allclose(pairs.found[:2], pairs.truth[:2] + [[[1]], [[0]]], atol=1e-4)
    assert pairs.oks[1:].tolist() == pytest.approx([1, 0])
    assert np.isnan(pairs.found[2]).all()
    variances = 2 * truth.content["annotations"][0]["area"] * (2 * np.array(COCO17.sigmas)) ** 2
    assert pairs.oks[0] == pytest.approx(np.mean(np.exp(-2 / variances)), rel=1e-4)
    table = joint_table(pairs, "coco")["nose"]
    assert table["labelled"] == 3
    assert table["similarity"] == pytest.approx((np.exp(-2 / variances[0]) + 1 + 0) / 3, rel=1e-4)
    sizes = size_table(pairs)
    assert sum(row["persons"] for name, row in sizes.items() if name.startswith("height")) == 3
    assert sizes["area: medium"]["OKS>=0.75"] == pytest.approx(2 / 3)
    assert "area: medium" in text_table(sizes)


def test_unreadable_images_are_missed_and_told_once(
    three: tuple[Benchmark, Path], caplog: pytest.LogCaptureFixture
) -> None:
    truth, folder = three
    read, joints = image_reader(folder, truth), exact(truth)

    def pose(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Poses:
        boxes_of = {item["image_id"]: item["bbox"] for item in truth.content["annotations"]}
        key = next(key for key, box in boxes_of.items() if np.allclose(box, boxes[0]))
        return joints[key].poses

    answers = answers_to_boxes(pose, truth, read)
    assert sorted(answers) == [1, 3]
    assert caplog.text.count("1 of 3 images are missed, the first: cannot read the image") == 1
    assert score(truth, answers, (256, 192))["AR"] == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="cannot read the image"):
        answers_to_boxes(pose, truth, image_reader(folder / "elsewhere", truth))


def test_joints_in_another_order_are_put_in_the_networks(three: tuple[Benchmark, Path]) -> None:
    truth, folder = three
    path = folder.with_suffix(".json")
    content = json.loads(path.read_text())
    for person in content["annotations"]:
        person["keypoints"] = np.reshape(person["keypoints"], (17, 3))[::-1].ravel().tolist()
    content["categories"] = [{"id": 1, "keypoints": list(COCO17.names[::-1])}]
    path.write_text(json.dumps(content))
    again = read_benchmark(path, COCO17)
    assert [item["keypoints"] for item in again.content["annotations"]] == [
        item["keypoints"] for item in truth.content["annotations"]
    ]
    with pytest.raises(DataError, match=r"persons of \[17\] keypoints, the network gives 16: evaluate it on .*mpii16"):
        read_benchmark(path, MPII16, "coco")


def test_pictures_of_the_worst(three: tuple[Benchmark, Path], tmp_path: Path) -> None:
    truth, folder = three
    answers = exact(truth)
    answers[1] = exact(truth, shift=15.0)[1]
    del answers[2], answers[3]
    pairs = pair_up(truth, answers)
    assert worst_persons(pairs, 2).tolist() == [1, 2]  # both missed
    (folder / "002.png").write_bytes((folder / "001.png").read_bytes())
    told = write_worst(pairs, image_reader(folder, truth), 9, tmp_path / "page.png")
    assert [name for name, _ in told] == ["002.png", "003.png", "001.png"]
    assert told[0][1] == told[1][1] == 0 < told[2][1] < 1
    page = cv2.imread(str(tmp_path / "page.png"))
    assert page.shape == (TILE[0] + CAPTION, COLUMNS * TILE[1], 3)
    assert (page[: TILE[0], 3 * TILE[1] :] == 32).all()  # three pictures, and an empty place
    write_worst(pairs, image_reader(folder, truth), 1, tmp_path / "each")
    assert [file.name for file in (tmp_path / "each").iterdir()] == ["001_002.png"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([{"image_id": 7, "bbox": [1, 2, 3, 4], "score": 1}], "no person in these 1 images"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1, "category_id": 2}], "no person in these 1 images"),
        ([{"image_id": 1, "score": 1}], "no image_id, bbox and score in each row"),
        ({"images": []}, "no image_id, bbox and score in each row"),
    ],
)
def test_detections_that_cannot_be_used(tmp_path: Path, content: Any, sentence: str) -> None:
    (tmp_path / "found.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        read_detections(tmp_path / "found.json", {1})


# Whole runs ---------------------------------------------------------------------------------------------------------


def five_joints(folder: Path, name: str, count: int, seed: int) -> None:
    """The drawn people with a skeleton of five of their joints, which only the category describes."""
    content = write_people(folder, name, count, seed)
    picked = [0, 9, 10, 15, 16]
    for person in content["annotations"]:
        person["keypoints"] = np.reshape(person["keypoints"], (17, 3))[picked].ravel().tolist()
        person["num_keypoints"] = 5
    names = ["head", "left_hand", "right_hand", "left_foot", "right_foot"]
    content["categories"] = [{"id": 1, "name": "dancer", "keypoints": names, "skeleton": [[1, 2], [1, 3]]}]
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_own_skeleton_from_training_to_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript", reason="exporting needs onnxscript: pip install transpose-sdk[convert]")
    for name, count, seed in (("train", 8, 1), ("val", 3, 2)):
        five_joints(tmp_path, name, count, seed)
    files = {"train_annotations": "train.json", "train_images": "train"}
    files |= {"val_annotations": "val.json", "val_images": "val"}
    recipe = Recipe.from_dict({**TINY, **files, "skeleton": "train.json"})
    train(recipe, tmp_path, tmp_path / "run", workers=0)  # two steps
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["model"]["final_layer.weight"].shape[0] == 5
    best, bundle = str(tmp_path / "run" / "best.safetensors"), str(tmp_path / "five.tpose")
    assert main(["export", best, "--out", bundle]) == 0
    files_of = ["--coco", str(tmp_path / "val.json"), "--images", str(tmp_path / "val")]
    found = [{"image_id": 2, "category_id": 1, "bbox": [10, 10, 90, 120], "score": 0.9}]
    (tmp_path / "found.json").write_text(json.dumps(found))
    for boxes, options in (
        ("gt", ["--flip", "--page", str(tmp_path / "page.png")]),
        (str(tmp_path / "found.json"), []),
    ):
        out = tmp_path / "out.json"
        arguments = ["--bundle", bundle, *files_of, "--device", "CPU", "--boxes", boxes, *options, "--json", str(out)]
        assert main(["eval", *arguments]) == 0
        report = json.loads(out.read_text())
        assert {"AP", "AR_large"} <= set(report)
        assert list(report["joints"]) == ["head", "left_hand", "right_hand", "left_foot", "right_foot"]
        assert report["persons"] == 3
    assert (tmp_path / "page.png").stat().st_size > 1000
    description = json.loads((tmp_path / "five.tpose" / "bundle.json").read_text())
    assert description["skeleton"]["flip_pairs"] == [[1, 2], [3, 4]]
    capsys.readouterr()
    assert main(["eval", "--bundle", bundle, *files_of, "--worst", "3"]) == 2
    assert "--page" in capsys.readouterr().err


def test_a_bundle_of_mpiis_joints_in_full(tmp_path: Path) -> None:
    """A network that finds discs by their colour: all joints but a wrist, which is not drawn."""
    columns, rows = np.meshgrid(np.arange(4), np.arange(4))
    joints = (40 + 40 * np.stack((columns, rows), axis=-1).reshape(1, 16, 2)).astype(float)
    write_mpii(tmp_path / "mpii", joints, np.zeros((1, 16), int), (200, 200))
    image = np.zeros((200, 200, 3), np.uint8)
    for joint, (x, y) in enumerate(joints[0].astype(int).tolist()):
        if joint != 10:
            cv2.circle(image, (x, y), 4, COLORS[joint].tolist(), -1, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "mpii" / "0.png"), image)
    bundle = write_blob_bundle(tmp_path / "mpii.tpose", MPII16)
    arguments = ["--bundle", str(bundle), "--mpii", str(tmp_path / "mpii" / "valid.json"), "--device", "CPU"]
    arguments += ["--images", str(tmp_path / "mpii"), "--page", str(tmp_path / "page.png"), "--worst", "1"]
    assert main(["eval", *arguments, "--json", str(tmp_path / "out.json")]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["PCKh@0.5"] == pytest.approx(13 / 14, abs=1e-4)
    assert report["joints"]["right_wrist"]["PCKh@0.5"] == 0
    assert report["joints"]["head_top"]["PCKh@0.5"] == 1
    assert report["worst"][0][0] == "0.png"


def test_damaged_files_do_not_stop_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An image that cannot be read in each set, and a box far outside of an image that is evaluated."""
    write_people(tmp_path, "train", 5, seed=1)
    content = write_people(tmp_path, "val", 3, seed=2)
    for place in ("train/004.png", "val/001.png"):
        (tmp_path / place).write_bytes((tmp_path / place).read_bytes()[:50])
    content["annotations"][1]["bbox"] = [900, 1, 20, 20]
    (tmp_path / "val.json").write_text(json.dumps(content))
    files = {"train_annotations": "train.json", "train_images": "train"}
    files |= {"val_annotations": "val.json", "val_images": "val"}
    with caplog.at_level("INFO"):
        train(Recipe.from_dict({**TINY, **files, "epochs": 2}), tmp_path, tmp_path / "run", workers=0)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    assert caplog.text.count("left out: 1 persons whose image cannot be read (first: 004.png)") == 1
    assert "1 of 3 images are missed" in caplog.text


def test_mpii_is_trained_and_validated_by_pckh(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    joints = 55 + rng.uniform(-30, 30, (5, 16, 2))
    write_mpii(tmp_path / "mpii", joints, np.zeros((5, 16), int), (110, 110))
    items = json.loads((tmp_path / "mpii" / "valid.json").read_text())
    for item, places in zip(items, joints, strict=True):
        item["joints"] = (places + 1).tolist()
    (tmp_path / "mpii" / "train.json").write_text(json.dumps(items))
    files = {"train_annotations": "mpii/train.json", "val_annotations": "mpii/valid.json"}
    images = {"train_images": "mpii", "val_images": "mpii"}
    recipe = Recipe.from_dict({**TINY, **files, **images, "input_size": (64, 64), "skeleton": "mpii16"})
    best = train(recipe, tmp_path, tmp_path / "run", workers=0)
    record = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert record["PCKh@0.5"] == pytest.approx(best, abs=1e-4)
    assert 0 <= record["PCKh@0.1"] <= record["PCKh@0.5"] < 0.9
