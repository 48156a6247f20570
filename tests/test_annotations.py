"""Annotation files as people have them: odd ids and counts, turned photos, values of a wrong kind."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_people import coco_file, coco_person, write_turned

pytest.importorskip("torch", reason="evaluation belongs to training: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.bundles.bundle import ASSETS, DEFAULT_MODEL
from transpose_sdk.cli.main import main
from transpose_sdk.errors import DataError
from transpose_sdk.estimator import PoseEstimator
from transpose_sdk.skeletons import COCO17
from transpose_sdk.trainers.data.persons import load_persons
from transpose_sdk.trainers.evaluation.benchmark import read_benchmark
from transpose_sdk.trainers.evaluation.evaluate import read_detections

Content = dict[str, Any]
BIG = "1" + "0" * 400


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn people, annotated with what the shipped network finds in them: AP 1."""
    folder = tmp_path_factory.mktemp("photos")
    crops = np.load(ASSETS / f"{DEFAULT_MODEL}.tpose" / "probe.npz")["crops"][:3]
    images, people = [], []
    with PoseEstimator(device="CPU", detector="frame") as estimator:
        for number, crop in enumerate(crops, 1):
            picture = cv2.resize(crop, (240, 320))
            box = [20.0, 10.0, 200.0, 300.0]
            joints = estimator(picture, boxes=[box]).keypoints[0].astype(float)
            cv2.imwrite(str(folder / f"{number}.png"), picture)
            images.append({"id": number, "file_name": f"{number}.png", "width": 240, "height": 320})
            people.append(coco_person(number, number, joints) | {"bbox": box, "area": 30000.0})
    (folder / "right.json").write_text(json.dumps(coco_file(images, people)))
    return folder


def evaluate(photos: Path, annotations: Path) -> tuple[int, Content]:
    out = annotations.with_name("numbers.json")
    arguments = ["eval", "--coco", str(annotations), "--images", str(photos), "--device", "CPU", "--json", str(out)]
    code = main(arguments)
    return code, json.loads(out.read_text()) if code == 0 else {}


def each(change: Callable[[int, Content], object], kind: str = "annotations") -> Callable[[Content], object]:
    return lambda content: [change(number, item) for number, item in enumerate(content[kind])]


@pytest.mark.parametrize(
    "change",
    [
        each(lambda number, item: item.update(id=number)),  # from 0: pycocotools takes a match with 0 for none
        each(lambda number, item: item.update(id=7)),
        each(lambda number, item: item.update(num_keypoints=0)),
        each(lambda number, item: item.update(num_keypoints="many")),
        each(lambda number, item: item.update(area=0)),
        each(lambda number, item: [item.pop(name) for name in ("id", "num_keypoints", "iscrowd", "category_id")]),
        each(lambda number, item: item.update(iscrowd=False)),
        each(lambda number, item: item.update(id=-number), "images"),  # nobody's image any more but the first's
    ],
)  # fmt: skip
def test_bookkeeping_is_ours(photos: Path, tmp_path: Path, change: Callable[[Content], object]) -> None:
    content = json.loads((photos / "right.json").read_text())
    change(content)
    ids = [image["id"] for image in content["images"]]
    for person, number in zip(content["annotations"], ids, strict=True):
        person["image_id"] = number
    (tmp_path / "odd.json").write_text(json.dumps(content))
    code, numbers = evaluate(photos, tmp_path / "odd.json")
    assert code == 0
    assert numbers["AP"] == pytest.approx(1, abs=1e-3)


def test_phone_photos_are_read_as_they_were_annotated(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads((photos / "right.json").read_text())
    for image in content["images"]:
        upright = cv2.imread(str(photos / image["file_name"]))
        image["file_name"] = f"{image['id']}.jpg"
        write_turned(tmp_path / image["file_name"], cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))
    for stated in (True, False):
        if not stated:
            for image in content["images"]:
                del image["width"], image["height"]
        (tmp_path / "phone.json").write_text(json.dumps(content))
        code, numbers = evaluate(tmp_path, tmp_path / "phone.json")
        assert (code, numbers["AP"] > 0.9) == (0, True)
    assert "annotations were made on" not in caplog.text
    for image in content["images"]:
        image |= {"width": 480, "height": 640}
    (tmp_path / "phone.json").write_text(json.dumps(content))
    evaluate(tmp_path, tmp_path / "phone.json")
    assert "1.jpg has 240x320 px, but its annotations were made on 480x640" in caplog.text


WRONG: list[tuple[Callable[[Content], object], str]] = [
    (lambda c: c["annotations"][1].update(id="a1"), r"annotations\[1\]\.id: Expected `int`, got `str` \(id 'a1'\)"),
    (lambda c: c["annotations"][1].update(image_id=None), r"annotations\[1\]\.image_id: .*`null` \(id 2\)"),
    (lambda c: c["annotations"][0].update(bbox=None), r"annotations\[0\]\.bbox: Expected `array`, got `null`"),
    (lambda c: c["annotations"][0].update(bbox=[]), r"annotations\[0\]\.bbox: Expected `array` of length 4"),
    (lambda c: c["annotations"][0].update(bbox=["1", 2, 3, 4]), r"annotations\[0\]\.bbox\[0\]"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 0]), r"annotations\[0\] \(id 1\) .*no area"),
    (lambda c: c["annotations"][0].update(keypoints=None), r"annotations\[0\]\.keypoints: .*`null`"),
    (lambda c: c["annotations"][0].update(keypoints=[None] * 51), r"annotations\[0\]\.keypoints\[0\]: .*`null`"),
    (lambda c: c["annotations"][0].update(keypoints={}), r"annotations\[0\]\.keypoints"),
    (lambda c: c["annotations"][0]["keypoints"].__setitem__(0, float("nan")), r"annotations\[0\] .*no finite numbers"),
    (lambda c: c["annotations"][0].update(area="large"), r"annotations\[0\]\.area"),
    (lambda c: c["annotations"].__setitem__(0, None), r"annotations\[0\]: Expected `object`, got `null`"),
    (lambda c: c.update(annotations={}), r"annotations: Expected `array`"),
    (lambda c: c["images"][0].update(id=2), r"two images have the id 2"),
    (lambda c: c["images"][0].update(id="1"), r"images\[0\]\.id"),
    (lambda c: c["images"][0].update(width="wide"), r"images\[0\]\.width"),
    (lambda c: c["images"][0].pop("file_name"), r"images\[0\]: Object missing required field `file_name`"),
    (lambda c: c.update(categories=[{"keypoints": [1, 2]}]), r"categories\[0\]\.keypoints\[0\]"),
    (lambda c: c.update(categories=[{"keypoints": ["a", "a"]}]), r"two joints have the same name"),
    (lambda c: c.update(categories=5), r"categories"),
    (lambda c: [a.update(keypoints=[v / 500 if k % 3 < 2 else v for k, v in enumerate(a["keypoints"])])
                for a in c["annotations"]], r"within 0\.\.1.* multiply"),
    (lambda c: [a.update(keypoints=[0] * 51) for a in c["annotations"]], r"no person with a labelled joint"),
    (lambda c: c["images"].clear(), r"no person with a labelled joint"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_wrong_fields_are_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Content], object], sentence: str
) -> None:
    content = json.loads((photos / "right.json").read_text())
    change(content)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        read_benchmark(path, COCO17)
    assert evaluate(photos, path)[0] == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_training_reads_the_same_files(photos: Path, tmp_path: Path) -> None:
    content = json.loads((photos / "right.json").read_text())
    expected = load_persons(photos / "right.json")
    assert expected.stated == ((320, 240),) * 3
    odd = copy.deepcopy(content)
    for person in odd["annotations"]:
        person |= {"id": 0, "num_keypoints": 0}
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    assert load_persons(tmp_path / "odd.json").joints.tolist() == expected.joints.tolist()
    content["annotations"][1]["keypoints"][4] = "17"
    (tmp_path / "odd.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"annotations\[1\]\.keypoints\[4\]: Expected `float`, got `str`"):
        load_persons(tmp_path / "odd.json")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "null", "{}", '[{"image_id": 1}]', '[{"image_id": 1, "bbox": [1, 2, 3], "score": 1}]',
        '[{"image_id": 1, "bbox": [1, 2, 3, null], "score": 1}]',
        '[{"image_id": 1, "bbox": [1, 2, 3, NaN], "score": 1}]',
        '[{"image_id": [], "bbox": [1, 2, 3, 4], "score": 1}]',
        f'[{{"image_id": 1, "bbox": [1, 2, 3, {BIG}], "score": 1}}]', "\x00", '"\ud800"',
    ],
)  # fmt: skip
def test_wrong_detections(tmp_path: Path, text: str) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(DataError):
        read_detections(path, {1})


def test_persons_without_an_image_are_counted(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = json.loads((photos / "right.json").read_text())
    content["annotations"][0]["image_id"] = 99
    (tmp_path / "odd.json").write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        read_benchmark(tmp_path / "odd.json", COCO17)
    assert "lists no image for 1 persons" in caplog.text
