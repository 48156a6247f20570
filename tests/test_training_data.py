"""What training reads: recipes, COCO files, the cache of decoded images, the order of an epoch; and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_people import write_people

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")

from trainers import recipe as recipe_module  # noqa: E402
from trainers.batches import EpochBatches, epoch_order  # noqa: E402
from trainers.image_cache import ImageCache, decode_image  # noqa: E402
from trainers.persons import Persons, load_persons  # noqa: E402
from trainers.recipe import Recipe, load_recipe  # noqa: E402
from transpose_sdk.coco import read_annotations  # noqa: E402
from transpose_sdk.errors import DataError  # noqa: E402
from transpose_sdk.models import create_model  # noqa: E402
from transpose_sdk.skeletons import COCO17  # noqa: E402

PACKAGED = sorted(path.stem for path in (Path(recipe_module.__file__).parent / "recipes").glob("*.yaml"))
LABELLED = [value for k in range(17) for value in (10 + k, 20 + k, 2)]
NOTHING = [0] * 51


def write_coco(folder: Path, annotations: list[dict[str, Any]], **image: Any) -> Path:
    """A COCO file of one image, 100 x 80 px, with id 3."""
    path = folder / "persons.json"
    images = [{"id": 3, "file_name": "a.png", "width": 100, "height": 80, **image}]
    filled = [{"id": n, "image_id": 3, "bbox": [5, 5, 40, 60], **item} for n, item in enumerate(annotations)]
    path.write_text(json.dumps({"images": images, "annotations": filled}))
    return path


# Recipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_recipes_build_their_network(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        model = create_model(recipe.model, input_size=recipe.input_size, **recipe.variant)
    assert model.input_size == recipe.input_size
    names = [parameter for parameter, _ in model.named_parameters()]
    assert all(any(parameter.startswith(prefix) for parameter in names) for prefix in recipe.frozen)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size"),
    [
        ("tp_r_a3_coco", 230, 28),
        ("tp_r_a4_coco", 230, 20),
        ("tp_h_s_coco", 240, 64),
        ("tp_h_a4_coco", 240, 56),
        ("tp_h_a6_coco", 240, 56),
    ],
)
def test_published_recipes(name: str, epochs: int, batch_size: int) -> None:
    recipe = load_recipe(name)
    assert recipe.model == name.removesuffix("_coco")
    assert (recipe.epochs, recipe.batch_size) == (epochs, batch_size)
    assert recipe == Recipe(recipe.model, epochs=epochs, batch_size=batch_size)  # everything else as published
    assert (recipe.optimizer, recipe.lr, recipe.lr_end, recipe.schedule) == ("adam", 1e-4, 1e-5, "epoch")
    assert (recipe.half_body, recipe.scale, recipe.rotation, recipe.rotation_probability) == (0.3, 0.35, 45, 0.6)
    assert (recipe.sigma, recipe.flip, recipe.color, recipe.precision) == (2, 0.5, 0, "fp32")


def test_values_of_yaml_get_the_type_of_their_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: tp_m\nlr: 1e-4\nepochs: 3.0\nfrozen: features.0.\ninput_size: [64, 48]\nscale: 0\n")
    recipe = load_recipe(path, {"lr_end": "1e-6"})
    assert (recipe.lr, recipe.lr_end, recipe.epochs) == (1e-4, 1e-6, 3)  # YAML gives 1e-4 as text
    assert recipe.frozen == ("features.0.",)  # and not its letters
    assert recipe.input_size == (64, 48)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: tp_m\nlearning_rate: 1\n", r"unknown keys learning_rate; known are .*lr"),
        ("lr: 0.1\n", r"no model; name one"),
        ("model: tp_m\nlr: fast\n", r"lr is 'fast'; give a value of type float"),
        ("model: tp_m\nepochs: 1.5\n", r"epochs is 1.5; give a value of type int"),
        ("model: tp_m\ninput_size: 256\n", r"input_size is 256; give a value of type tuple"),
        ("model: tp_m\nsource_weights: [coco]\n", r"source_weights is \['coco'\]"),
        ("model: tp_m\nsource_weights: {coco: 1}\n", r"samples_per_epoch"),
        ("model: tp_m\nbatch_size: 0\n", r"batch_size 0 must"),
        ("model: tp_m\noptimizer: sgd\n", r"optimizer 'sgd' is unknown: use adam or adamw"),
        ("model: tp_m\nschedule: linear\n", r"schedule 'linear' is unknown"),
        ("model: tp_m\nprecision: fp8\n", r"precision 'fp8' is unknown"),
        ("- model\n", r"is not a recipe: expected keys and values, got list"),
        ("model: [\n", r"is not YAML"),
    ],
)
def test_wrong_recipes(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        load_recipe(path)


def test_unknown_recipe_lists_the_packaged_ones() -> None:
    with pytest.raises(DataError, match=r"no recipe 'tp_x': give a YAML file or one of .*tp_r_a4_coco"):
        load_recipe("tp_x")


# COCO files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"cannot read .*persons\.json \(No such file"),
        ("{", r"is not JSON"),
        ("[]", r"has no images and annotations"),
        ('{"images": []}', r"has no images and annotations"),
        ('{"images": [], "annotations": []}', r"has no person with a labelled joint"),
        ('{"images": [{"id": 1}], "annotations": []}', r"images\[0\] has no file_name"),
        ('{"images": [], "annotations": [{"id": 1}]}', r"annotations\[0\] has no image_id and no bbox"),
    ],
)
def test_files_that_are_not_coco(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "persons.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        load_persons(path)


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


@pytest.mark.parametrize("keypoints", [[1, 2, 2] * 14, [1, 2, 2, 4], [[1, 2, 2]] * 17])
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


def test_notes_of_orientation_are_ignored(tmp_path: Path) -> None:
    """Annotations are in px of the stored image."""
    _, encoded = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))
    # EXIF with one entry: orientation (0x0112) is 6, to be turned by 90 degrees
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    data = encoded.tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert cv2.imread(str(path)).shape == (30, 20, 3)  # the note is there
    assert decode_image(path).shape == (20, 30, 3)


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
