"""What training reads: COCO files, the cache of decoded images, the order of an epoch; and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_people import write_people, write_turned

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")

from transpose_sdk.errors import DataError  # noqa: E402
from transpose_sdk.media.coco import read_annotations  # noqa: E402
from transpose_sdk.skeletons import COCO17  # noqa: E402
from transpose_sdk.trainers.data.batches import EpochBatches, epoch_order  # noqa: E402
from transpose_sdk.trainers.data.image_cache import ImageCache, ImageFolder, decode_image, open_images  # noqa: E402
from transpose_sdk.trainers.data.persons import Persons, load_persons  # noqa: E402
from transpose_sdk.trainers.data.split import is_held_out  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402

LABELLED = [value for k in range(17) for value in (10 + k, 20 + k, 2)]
NOTHING = [0] * 51


def write_coco(folder: Path, annotations: list[dict[str, Any]], **image: Any) -> Path:
    """A COCO file of one image, 100 x 80 px, with id 3."""
    path = folder / "persons.json"
    images = [{"id": 3, "file_name": "a.png", "width": 100, "height": 80, **image}]
    filled = [{"id": n, "image_id": 3, "bbox": [5, 5, 40, 60], **item} for n, item in enumerate(annotations)]
    path.write_text(json.dumps({"images": images, "annotations": filled}))
    return path


# COCO files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"cannot read .*persons\.json \(No such file"),
        ("{", r"is not JSON"),
        ("[]", r"has no images and annotations"),
        ('{"images": []}', r"has no images and annotations"),
        ('{"images": [], "annotations": []}', r"has no person with a labelled joint"),
        (
            '{"images": [{"id": 1}], "annotations": []}',
            r"images\[0\]: .*missing required field `file_name` \(id 1\)",
        ),
        (
            '{"images": [], "annotations": [{"id": 1}]}',
            r"annotations\[0\]: .*field `image_id` \(id 1\)",
        ),
    ],
)
def test_files_that_are_not_coco(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "persons.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        load_persons(path)


def test_held_out_images_are_never_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{number:012d}" for number in range(2000)]
    held = {name for name in names if is_held_out(f"{name}.jpg", 0.1)}
    assert 150 < len(held) < 250
    assert held == {name for name in names if is_held_out(f"other/folder/{name}.webp", 0.1)}  # copies go with it
    assert held < {name for name in names if is_held_out(name, 0.2)}
    assert not any(is_held_out(name, 0) for name in names)
    assert all(is_held_out(name, 1) for name in names)

    images = [{"id": n, "file_name": f"{name}.jpg", "source": "coco"} for n, name in enumerate(names[:50])]
    images += [{"id": 50 + n, "file_name": f"{name}.jpg", "source": "lsp"} for n, name in enumerate(names[:50])]
    people = [{"id": n, "image_id": n, "bbox": [5, 5, 40, 60], "keypoints": LABELLED} for n in range(100)]
    path = tmp_path / "persons.json"
    path.write_text(json.dumps({"images": images, "annotations": people}))
    with caplog.at_level("INFO"):
        persons = load_persons(path, held_out={"coco": 0.1})
    kept = [persons.file_names[index][:12] for index in persons.image_index[persons.sources == "coco"]]
    assert set(kept) == set(names[:50]) - held
    assert (persons.sources == "lsp").sum() == 50
    assert f"{50 - len(kept)} persons held out" in caplog.text
    with pytest.raises(DataError, match=r"held_out gives 'coco' the share 5: give one from 0 to 1"):
        Recipe("tp_r_a4", held_out={"coco": 5})


@pytest.mark.parametrize(
    "person",
    [
        {"keypoints": NOTHING},  # no joint
        {"bbox": [5, 5, 40, 60]},  # no keypoints at all
        {"keypoints": LABELLED, "iscrowd": 1},
        {"keypoints": LABELLED, "bbox": [5, 5, 0, 60]},  # no area
        {"keypoints": LABELLED, "bbox": [100, 5, 40, 60]},  # right of the image
        {"keypoints": LABELLED, "bbox": [5, -61, 40, 60]},  # above it
        {"keypoints": LABELLED, "image_id": 4},  # no such image
        {"keypoints": LABELLED, "teacher_agreement": 0.2},
        {"keypoints": NOTHING, "teacher_keypoints": [1, 2, 0.1] * 17},  # the teacher does not see it either
    ],
)
def test_persons_that_are_left_out(tmp_path: Path, person: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    path = write_coco(tmp_path, [person, {"keypoints": LABELLED, "id": 9}], source="coco")
    with caplog.at_level("INFO"):
        persons = load_persons(path, teacher_weight=0.5, min_agreement={"coco": 0.5})
    assert len(persons) == 1
    assert "left out: 1 persons" in caplog.text
    with pytest.raises(DataError, match="no person with a labelled joint"):
        load_persons(write_coco(tmp_path, [person], source="coco"), teacher_weight=0.5, min_agreement={"coco": 0.5})


def test_weights_of_human_and_teacher(tmp_path: Path) -> None:
    human = [10, 20, 2, 11, 21, 1, 0, 0, 0, 0, 0, 0] + [0] * 39  # visible, hidden, and two that are unknown
    teacher = [1, 2, 0.9, 1, 2, 0.9, 30, 40, 0.8, 50, 60, 0.29] + [0] * 39
    path = write_coco(tmp_path, [{"keypoints": human, "teacher_keypoints": teacher}])
    np.testing.assert_allclose(load_persons(path).weights[0, :5], [1, 1, 0, 0, 0])
    taught = load_persons(path, teacher_weight=0.5)
    np.testing.assert_allclose(taught.weights[0, :5], [1, 1, 0.4, 0, 0])  # half of .8; .29 is below the least score
    np.testing.assert_allclose(taught.joints[0, :3], [(10, 20), (11, 21), (30, 40)])


@pytest.mark.parametrize("keypoints", [[1, 2, 2] * 14, [1, 2, 2, 4]])
def test_keypoints_of_another_skeleton(tmp_path: Path, keypoints: list[Any]) -> None:
    with pytest.raises(DataError, match=r"keypoints of annotation 0 has shape .*, not \(51,\)"):
        load_persons(write_coco(tmp_path, [{"keypoints": keypoints}]))


def test_read_annotations_keeps_the_content(tmp_path: Path) -> None:
    truth = write_people(tmp_path, "val", 2, seed=0)
    assert read_annotations(tmp_path / "val.json") == json.loads(json.dumps(truth))


# Images -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, list[str]]:
    """Three pictures of different sizes."""
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = rng.integers(0, 255, (20 + number, 30, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    return tmp_path, [f"{number}.png" for number in range(3)]


def test_cache_gives_the_decoded_pixels(pictures: tuple[Path, list[str]]) -> None:
    folder, names = pictures
    for _ in range(2):  # made, then read
        cache = ImageCache(folder, names, folder / "cache")
        assert len(cache) == 3
        assert cache.readable.all()
        for number, name in enumerate(names):
            np.testing.assert_array_equal(cache[number], cv2.imread(str(folder / name)))
    assert len(list((folder / "cache").iterdir())) == 2  # no half file stays
    (folder / "1.png").unlink()  # the images are no longer needed
    np.testing.assert_array_equal(ImageCache(folder, names, folder / "cache")[2], cv2.imread(str(folder / "2.png")))


def test_unreadable_images_are_reported_once(
    pictures: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, names = pictures
    (folder / "1.png").write_bytes(b"no picture")
    cache = ImageCache(folder, [*names, "gone.png"], folder / "cache")
    assert cache.readable.tolist() == [True, False, True, False]
    assert caplog.text.count("2 images could not be read, the first is 1.png") == 1
    np.testing.assert_array_equal(cache[2], cv2.imread(str(folder / "2.png")))


def test_cache_notices_images_that_came_later(pictures: tuple[Path, list[str]]) -> None:
    folder, names = pictures
    hidden = folder / "hidden"
    (folder / "1.png").rename(hidden)
    assert not ImageCache(folder, names, folder / "cache").readable[1]
    os.utime(hidden, (1, 1))  # an archive's time
    hidden.rename(folder / "1.png")
    np.testing.assert_array_equal(ImageCache(folder, names, folder / "cache")[1], cv2.imread(str(folder / "1.png")))
    replaced = np.full((9, 9, 3), 77, np.uint8)
    cv2.imwrite(str(folder / "0.png"), replaced)
    np.testing.assert_array_equal(ImageCache(folder, names, folder / "cache")[0], replaced)


def test_no_image_at_all_leaves_no_cache(pictures: tuple[Path, list[str]]) -> None:
    folder, names = pictures
    for _ in range(2):
        with pytest.raises(DataError, match=r"none of the 3 images could be read from .*elsewhere"):
            ImageCache(folder / "elsewhere", names, folder / "cache")
    assert not list((folder / "cache").iterdir())


def test_stated_sizes_tell_whether_a_picture_was_annotated_upright(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_turned(tmp_path / "turned.jpg", np.zeros((20, 30, 3), np.uint8))
    assert decode_image(tmp_path / "turned.jpg").shape == (30, 20, 3)  # as every tool for annotating shows it
    for stated, shape in (((30, 20), (30, 20, 3)), ((20, 30), (20, 30, 3)), ((15, 10), (30, 20, 3))):
        for kind in (ImageCache, ImageFolder):
            images = kind(tmp_path, ["turned.jpg"], tmp_path / "cache", [stated])
            assert images[0].shape == shape
    assert not caplog.records
    open_images(tmp_path, ["turned.jpg"], tmp_path / "cache", [(15, 10)])
    assert "turned.jpg has 20x30 px, but its annotations were made on 10x15" in caplog.text


# The order of an epoch ----------------------------------------------------------------------------------------------


def some_persons(sources: list[str]) -> Persons:
    count = len(sources)
    return Persons(
        file_names=("a.png",),
        image_index=np.zeros(count, np.int64),
        boxes=np.float32([[2, 2, 20, 30]] * count),
        joints=np.tile(np.arange(34, dtype=np.float32).reshape(17, 2), (count, 1, 1)),
        weights=np.ones((count, 17), np.float32),
        sources=np.array(sources),
        shares=np.ones(count),
    )


def test_an_epoch_is_a_permutation() -> None:
    persons, recipe = some_persons(["coco"] * 50), Recipe("tp_m", seed=4)
    first, second = epoch_order(persons, recipe, 0), epoch_order(persons, recipe, 1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(epoch_order(persons, recipe, 1), second)


def test_sources_are_drawn_by_their_weights() -> None:
    persons = some_persons(["coco"] * 10 + ["lsp"] * 30 + ["street"] * 5)
    recipe = Recipe("tp_m", source_weights={"coco": 3, "lsp": 1}, samples_per_epoch=20000)
    drawn = persons.sources[epoch_order(persons, recipe, 0)]
    assert len(drawn) == 20000
    # ten persons of weight 3 and thirty of weight 1
    assert np.mean(drawn == "coco") == pytest.approx(0.5, abs=0.02)
    assert np.mean(drawn == "lsp") == pytest.approx(0.5, abs=0.02)
    with pytest.raises(DataError, match=r"names \['mpii'\].* the data has the sources \['coco', 'lsp', 'street'\]"):
        epoch_order(persons, Recipe("tp_m", source_weights={"mpii": 1}, samples_per_epoch=9), 0)


def test_batches_follow_from_their_place(pictures: tuple[Path, list[str]]) -> None:
    """Batch 2 is the same whether it is made third, alone, or first of a resumed epoch."""
    folder, _ = pictures
    persons = some_persons([""] * 11)
    images = ImageCache(folder, ["0.png"], folder / "cache")
    recipe = Recipe("tp_m", batch_size=3, input_size=(64, 48))
    whole = EpochBatches(persons, images, COCO17, recipe, epoch=5)
    assert len(whole) == 3  # the last two persons do not fill a batch
    batches = list(whole)
    alone, resumed = whole[2], EpochBatches(persons, images, COCO17, recipe, epoch=5, first=2)[0]
    for again in (alone, resumed):
        assert all(torch.equal(part, other) for part, other in zip(batches[2], again, strict=True))
    assert not torch.equal(batches[1].crops, batches[2].crops)
    assert len(EpochBatches(persons, images, COCO17, recipe, epoch=5, first=3)) == 0
    with pytest.raises(DataError, match="11 persons an epoch do not fill one batch of 12"):
        EpochBatches(persons, images, COCO17, Recipe("tp_m", batch_size=12), epoch=0)
