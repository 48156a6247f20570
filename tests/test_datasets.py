"""Data sets of other kinds: MPII's files, skeletons of one's own, joint mappings, mixtures, and what is left out."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_people import coco_file, write_people
from scipy.io import savemat

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")

import yaml  # noqa: E402

from transpose_sdk.crops import boxes_to_centers_scales  # noqa: E402
from transpose_sdk.errors import DataError, InputError  # noqa: E402
from transpose_sdk.skeletons import COCO17, LSP14, MPII16, SKELETONS, Skeleton, joint_places  # noqa: E402
from transpose_sdk.trainers.data import image_cache  # noqa: E402
from transpose_sdk.trainers.data.batches import epoch_order  # noqa: E402
from transpose_sdk.trainers.data.image_cache import ImageFolder, open_images  # noqa: E402
from transpose_sdk.trainers.data.persons import load_persons  # noqa: E402
from transpose_sdk.trainers.data.skeleton_file import DEFAULT_SIGMA, category_skeleton, load_skeleton, mirrored_name  # noqa: E402
from transpose_sdk.trainers.data.training_set import load_training_set, read_training_set  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe  # noqa: E402

# Skeletons ----------------------------------------------------------------------------------------------------------


def test_skeleton_of_a_yaml_file(tmp_path: Path) -> None:
    (tmp_path / "dancer.yaml").write_text(
        "names: [head, left_hand, right_hand, left_foot, right_foot]\n"
        "edges: [[head, left_hand], [0, 2]]\n"
        "upper_body: [head, left_hand, 2]\n"
    )
    skeleton = load_skeleton("dancer.yaml", tmp_path)
    assert (skeleton.name, len(skeleton)) == ("dancer", 5)
    assert skeleton.edges == ((0, 1), (0, 2))
    assert skeleton.flip_pairs == ((1, 2), (3, 4))
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 5
    assert skeleton.upper_body == (0, 1, 2)
    assert load_skeleton("mpii16", tmp_path) is MPII16


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("names: [a, b]\nbones: []\n", r"unknown keys bones; a skeleton has name, names, edges"),
        ("edges: []\n", r"describes no skeleton: give the names"),
        ("names: [a, b]\nedges: [[a, c]]\n", r"describes no skeleton \('c' is none of its joints a, b\)"),
        ("names: [a, b]\nedges: [[0, 2]]\n", r"refers to keypoint 0\.\.2"),
        ("names: [a, b]\nsigmas: [0.1]\n", r"2 names but 1 sigmas"),
        ("names: [a, a]\n", r"two joints have the same name"),
        ("names: [\n", r"is not YAML"),
        ("names: a\n", r"names: Expected `array`, got `str`"),
        ("names: [a, 2]\n", r"names\[1\]: Expected `str`, got `int`"),
        ("names: [a, '']\n", r"an empty one"),
        ("names: []\n", r"no names"),
        ("names: [a, b]\nsigmas: 0\n", r"the sigma 0\.0: give a number above 0"),
        ("names: [a, b]\nsigmas: [.1, .nan]\n", r"the sigma nan"),
        ("names: [a, b]\nsigmas: wide\n", r"sigmas"),
        ("names: [a, b, c]\nflip_pairs: [[a, b], [b, c]]\n", r"flip pairs that overlap"),
        ("names: [a, b]\nflip_pairs: [[a, a]]\n", r"flip pairs that overlap"),
        ("names: [a, b]\nedges: [[a, a]]\n", r"from a keypoint to itself"),
        ("names: [a, b]\nedges: [[a, 1.5]]\n", r"edges\[0\]\[1\]"),
        ("names: [a, b]\nedges: [[a]]\n", r"edges\[0\]: Expected `array` of length 2"),
        ("names: [a, b]\nedges: 7\n", r"edges: Expected `array`"),
        ("names: [a, b]\nupper_body: {a: 1}\n", r"upper_body"),
        ("? [a]\n: b\n", r"is not YAML"),
        ("names: &a [*a]\n", r"holds itself"),
        ("\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]), r"values once"),
        ("names: " + 60 * "[" + 60 * "]", r"more than 50 deep"),
        ("names: " + 99999 * "[", r"YAML|deep"),
    ],
)
def test_wrong_skeleton_files(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(DataError, match=sentence):
        load_skeleton("mine.yaml", tmp_path)


def test_unknown_skeletons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no skeleton 'coco18' .*give one of coco17, mpii16, lsp14 or a file"):
        load_skeleton("coco18", tmp_path)
    (tmp_path / "bare.json").write_text(json.dumps(coco_file([], [])))
    with pytest.raises(DataError, match=r"bare\.json has no category with keypoints"):
        load_skeleton("bare.json", tmp_path)


def test_skeleton_of_a_category() -> None:
    own = {"keypoints": ["nose", "tail", "paw_l", "paw_r"], "skeleton": [[1, 2], [2, 4]], "sigmas": [0.1] * 4}
    skeleton = category_skeleton({"categories": [{"name": "tree"}, own]}, "cats")
    assert skeleton is not None
    assert (skeleton.edges, skeleton.flip_pairs) == (((0, 1), (1, 3)), ((2, 3),))
    assert skeleton.sigmas == (0.1,) * 4
    assert category_skeleton({"categories": [{"keypoints": list(COCO17.names)}]}, "x") is COCO17
    assert category_skeleton({"images": []}, "x") is None


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda skeleton: skeleton.name)
def test_names_tell_the_flip_pairs(skeleton: Skeleton) -> None:
    for name, other in zip(skeleton.names, skeleton.mirrored, strict=True):
        assert mirrored_name(name) == skeleton.names[other]


@pytest.mark.parametrize(
    ("name", "other"),
    [("hand_l", "hand_r"), ("r ear", "l ear"), ("LHip", "RHip"), ("UpperLeft", "UpperRight"), ("rail", "rail")],
)
def test_other_ways_to_tell_the_side(name: str, other: str) -> None:
    assert mirrored_name(name) == other


def test_joint_places() -> None:
    places = joint_places(COCO17, LSP14)
    assert places[COCO17.index("left_wrist")] == LSP14.index("left_wrist")
    assert (places >= 0).sum() == 12
    assert joint_places(LSP14, MPII16, {"neck": "upper_neck", 0: 5}).tolist() == [5] + [-1] * 11 + [8, -1]
    with pytest.raises(InputError, match="no keypoint 'tail'"):
        joint_places(COCO17, LSP14, {"nose": "tail"})
    other = Skeleton("cat", ("tail",), (), (), (0.1,), ())
    with pytest.raises(InputError, match=r"'coco17' and 'cat' have no joint of the same name: give a mapping"):
        joint_places(COCO17, other)


# MPII ---------------------------------------------------------------------------------------------------------------


def mpii_item(name: str = "a.png", **changed: Any) -> dict[str, Any]:
    """A person in the published list; joints 6 and 12 are not labelled."""
    joints = [[40 + 2 * k, 30 + 3 * k] for k in range(16)]
    visible = [int(k not in (6, 12)) for k in range(16)]
    return {"image": name, "joints": joints, "joints_vis": visible, "center": [60, 50], "scale": 0.4, **changed}


def test_published_crop_of_mpii(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([mpii_item(), mpii_item("b.png", center=[-1, -1], scale=-1)]))
    persons = load_persons(path, MPII16)
    assert len(persons) == 1  # the second has no place
    centers, scales = boxes_to_centers_scales(persons.boxes, (256, 256))
    np.testing.assert_allclose(centers, [(60 - 1, 50 + 15 * 0.4 - 1)], atol=1e-4)
    np.testing.assert_allclose(scales, [(1.25 * 0.4,) * 2], rtol=1e-5)
    np.testing.assert_allclose(persons.joints[0, 3], (40 + 6 - 1, 30 + 9 - 1))  # counted from 1
    assert persons.weights[0].tolist() == mpii_item()["joints_vis"]
    assert persons.boxes.shape == (1, 4)


def release(path: Path) -> None:
    """A file in the form of MPII's release: one labelled person, and everything that it has in odd forms."""
    item = mpii_item()
    points = [
        # Joint 0 is hidden, as text; 9, the head, says nothing; the others are visible, as numbers.
        {"x": float(x), "y": float(y), "id": k, "is_visible": "0" if k == 0 else (np.zeros((0, 0)) if k == 9 else 1)}
        for k, (x, y) in enumerate(item["joints"])
        if item["joints_vis"][k]
    ]
    place = {"x": 60.0, "y": 50.0}
    whole = {"scale": 0.4, "objpos": place, "annopoints": {"point": np.array(points, object)}}
    head = {"x1": 10.0, "y1": 20.0, "x2": 13.0, "y2": 24.0}
    images = [
        {"image": {"name": "a.png"}, "annorect": {**whole, **head}},
        {"image": {"name": "test.png"}, "annorect": {"scale": 1.0, "objpos": place}},  # a test image
        {"image": {"name": "nobody.png"}, "annorect": np.zeros((0, 0))},
        {"image": {"name": "b.png"}, "annorect": {"scale": np.zeros((0, 0)), "objpos": place, "annopoints": []}},
    ]
    savemat(path, {"RELEASE": {"annolist": np.array(images, object), "img_train": [1, 0, 0, 1]}})


def test_released_file_of_mpii(tmp_path: Path) -> None:
    release(tmp_path / "release.mat")
    (tmp_path / "train.json").write_text(json.dumps([mpii_item()]))
    persons, listed = (load_persons(tmp_path / name, MPII16) for name in ("release.mat", "train.json"))
    assert persons.file_names == listed.file_names == ("a.png",)
    for name in ("boxes", "joints", "weights"):
        np.testing.assert_allclose(getattr(persons, name), getattr(listed, name), err_msg=name)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train.json", b'[{"image": "a.png"}]', r"item 0 has no image, joints, joints_vis, center and scale"),
        ("train.json", json.dumps([mpii_item(joints=[[1, 2]] * 14)]).encode(), r"item 0 .*shape \(14, 2\)"),
        ("release.mat", b"MATLAB 5.0 MAT-file, or so", r"release\.mat is no MATLAB file that can be read"),
        ("missing.mat", None, r"cannot read .*missing\.mat"),
    ],
)
def test_files_that_are_not_mpii(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        load_persons(tmp_path / name, MPII16)
    savemat(tmp_path / "other.mat", {"x": 1})
    with pytest.raises(DataError, match=r"other\.mat has no RELEASE\.annolist"):
        load_persons(tmp_path / "other.mat", MPII16)


# Several sets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """COCO's 17 joints for 4 persons, LSP's 14 for 3 in its own field, and a released MPII of 1."""
    write_people(tmp_path, "coco", 4, seed=1)
    content = write_people(tmp_path, "lsp", 3, seed=2)
    for person in content["annotations"]:
        person["lsp_joints"] = [value for k in range(14) for value in (10 + k, 20 + k, 2 * (k != 0))]
        person["keypoints"] = [0] * 51
    (tmp_path / "lsp.json").write_text(json.dumps(content))
    release(tmp_path / "mpii.mat")
    (tmp_path / "mpii").mkdir()
    cv2.imwrite(str(tmp_path / "mpii" / "a.png"), np.zeros((120, 120, 3), np.uint8))
    return tmp_path


SETS: list[dict[str, Any]] = [
    {"annotations": "coco.json", "images": "coco"},
    {"annotations": "lsp.json", "images": "lsp", "weight": 2, "keypoints": "lsp_joints", "skeleton": "lsp14"},
    {"annotations": "mpii.mat", "images": "mpii", "weight": 0.5, "joints": {"nose": "head_top", "left_wrist": 15}},
]


def test_sets_are_mixed(mixed: Path) -> None:
    recipe = Recipe.from_dict({"model": "tp_m", "datasets": SETS, "samples_per_epoch": 30000})
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    persons, images = load_training_set(recipe, mixed, COCO17)
    assert persons.file_names[3:5] == ("coco/004.png", "lsp/001.png")
    assert persons.shares.tolist() == [1] * 4 + [2] * 3 + [0.5]
    assert images.readable.all()
    np.testing.assert_array_equal(images[persons.image_index[4]], cv2.imread(str(mixed / "lsp" / "001.png")))
    # LSP labels neither a face nor, here, its joint 0
    assert persons.weights[4].tolist() == [0] * 5 + [1] * 11 + [0]
    assert persons.joints[4, COCO17.index("left_wrist")].tolist() == [21, 31]  # LSP's joint 11
    # of MPII two joints were asked for
    assert np.flatnonzero(persons.weights[7]).tolist() == [0, COCO17.index("left_wrist")]
    np.testing.assert_allclose(persons.joints[7, 0], (40 + 18 - 1, 30 + 27 - 1))
    drawn = epoch_order(persons, recipe, 0)
    assert np.mean(drawn < 4) == pytest.approx(4 / 10.5, abs=0.02)
    assert np.mean(drawn == 7) == pytest.approx(0.5 / 10.5, abs=0.01)


def test_documented_recipes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    blocks = [textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    single, several, skeleton = blocks
    assert Recipe.from_dict(yaml.safe_load(single)) == Recipe("tp_r_a4")
    recipe = Recipe.from_dict(yaml.safe_load(several))
    assert [item.weight for item in recipe.datasets] == [1, 2, 1]
    joint_places(COCO17, MPII16, recipe.datasets[2].joints)
    (tmp_path / "dancer.yaml").write_text(skeleton)
    assert load_skeleton("dancer.yaml", tmp_path).flip_pairs == ((1, 2), (3, 4))


def test_images_of_another_list_are_excluded(mixed: Path) -> None:
    content = json.loads((mixed / "coco.json").read_text())
    (mixed / "held_out.json").write_text(json.dumps({"images": content["images"][1:3], "annotations": []}))
    item = {**SETS[0], "exclude": "held_out.json"}
    persons, _ = read_training_set(Recipe.from_dict({"model": "tp_m", "datasets": [item]}), mixed, COCO17)
    assert {persons.file_names[index] for index in persons.image_index} == {"coco/001.png", "coco/004.png"}


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({**SETS[1], "skeleton": "", "keypoints": "lsp_joints"}, r"lsp_joints of annotation 1 has shape \(42,\)"),
        ({**SETS[2], "joints": {"left_hand": 15}}, r"mpii\.mat: no keypoint 'left_hand' in skeleton 'coco17'"),
        ({**SETS[0], "skeleton": "tail.yaml"}, r"have no joint of the same name: .*Name the network's joints by skel"),
    ],
)
def test_sets_whose_joints_do_not_fit(mixed: Path, item: dict[str, Any], sentence: str) -> None:
    (mixed / "tail.yaml").write_text("names: [tail]\n")
    with pytest.raises(DataError, match=sentence):
        read_training_set(Recipe.from_dict({"model": "tp_m", "datasets": [item]}), mixed, COCO17)


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ([{**SETS[0], "format": "coco"}], r"datasets\[0\]: unknown keys format; a data set has annotations, exclude"),
        ([SETS[0], {"images": "x"}], r"datasets\[1\]: no annotations"),
        ([{**SETS[0], "weight": 0}], r"weight 0\.0 must be above 0"),
        (SETS[:2], r"weights of datasets draw persons with replacement: say how many in samples_per_epoch"),
        ("coco.json", r"datasets"),
        (None, r"datasets is None; give a list"),
        ([None], r"datasets\[0\] is None"),
        ([{5: 1, "x": 2}], r"unknown keys 5, x"),
    ],
)
def test_wrong_lists_of_sets(sets: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Recipe.from_dict({"model": "tp_m", "datasets": sets})


# What is left out ---------------------------------------------------------------------------------------------------


def test_one_line_tells_what_is_left_out(mixed: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = json.loads((mixed / "coco.json").read_text())
    content["annotations"][0]["bbox"] = [900, 5, 40, 60]  # the file tells no size: only the image does
    content["annotations"][1]["keypoints"] = [0] * 51
    content["annotations"] += [{**content["annotations"][3], "id": 99, "bbox": [float("nan"), 5, 40, 60]}]
    for image in content["images"]:
        del image["width"], image["height"]
    (mixed / "coco.json").write_text(json.dumps(content))
    picture = (mixed / "coco" / "003.png").read_bytes()
    (mixed / "coco" / "003.png").write_bytes(picture[:40])
    recipe = Recipe("tp_m", train_annotations="coco.json", train_images="coco")
    with caplog.at_level("INFO"):
        persons, images = load_training_set(recipe, mixed, COCO17)
    assert [persons.file_names[index] for index in persons.image_index] == ["004.png"]
    assert images[persons.image_index[0]].shape == (150, 120, 3)
    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert lines == [
        "left out: 1 persons without a joint (first: annotation 2 of coco.json), "
        "1 persons without an area (first: annotation 99 of coco.json), "
        "1 persons whose image cannot be read (first: 003.png), 1 persons outside their image (first: 001.png)"
    ]


def test_images_stay_files_where_the_disk_is_small(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["001.png", "gone.png", "002.png"]
    cached = open_images(mixed / "coco", names, mixed / "cache")
    monkeypatch.setattr(image_cache, "LARGEST_SHARE", 0)
    monkeypatch.setattr(image_cache, "CHUNK", 1)
    for _ in range(2):  # tried, then known
        images = open_images(mixed / "coco", names, mixed / "small")
        assert isinstance(images, ImageFolder)
        assert images.readable.tolist() == cached.readable.tolist() == [True, False, True]
        np.testing.assert_array_equal(images.sizes, cached.sizes)
        np.testing.assert_array_equal(images[2], cached[2])
    assert [file.suffixes for file in (mixed / "small").iterdir()] == [[".sizes", ".json"]]  # and no pixels
