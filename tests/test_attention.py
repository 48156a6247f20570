"""Attention rows and columns against the whole map, and the way from cells to image pixels."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pytest

from transpose_sdk.attention import Attention, affected_columns, dependency_rows
from transpose_sdk.crops import apply_affine, crop_affines, invert_affines, warp_crops
from transpose_sdk.dependency import DependencyArea, Threshold, affected_area, attention_areas, dependency_area
from transpose_sdk.errors import InputError
from transpose_sdk.poses import Poses
from transpose_sdk.skeletons import COCO17

INPUT = (256, 192)


def queries_keys(heads: int, length: int, d_head: int) -> tuple[np.ndarray, np.ndarray]:
    queries, keys = np.random.default_rng(3).standard_normal((2, heads, length, d_head)).astype(np.float32)
    return queries, keys


def full_map(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The head-averaged L x L map in float64."""
    logits = np.einsum("hid,hjd->hij", queries.astype(float), keys.astype(float)) / np.sqrt(queries.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).mean(0)


@pytest.mark.parametrize(
    ("heads", "length", "d_head"),
    [
        (8, 768, 32),  # TP-R
        (1, 1000, 96),  # TP-H's one head, on a length that the block size of the columns doesn't divide
        (2, 12, 4),
    ],
)
def test_rows_and_columns_equal_the_full_map(heads: int, length: int, d_head: int) -> None:
    queries, keys = queries_keys(heads, length, d_head)
    expected = full_map(queries, keys)
    indices = [0, length // 3, length - 1, length // 3]
    rows, columns = dependency_rows(queries, keys, indices), affected_columns(queries, keys, indices)
    np.testing.assert_allclose(rows, expected[indices], rtol=0, atol=1e-6)
    np.testing.assert_allclose(columns, expected[:, indices].T, rtol=0, atol=1e-6)
    assert rows.dtype == columns.dtype == np.float32


def test_large_logits_do_not_overflow() -> None:
    queries, keys = queries_keys(2, 12, 4)
    assert np.isfinite(dependency_rows(queries * 100, keys * 100, range(12))).all()
    assert np.isfinite(affected_columns(queries * 100, keys * 100, range(12))).all()


@pytest.mark.parametrize("attend", [dependency_rows, affected_columns])
@pytest.mark.parametrize(
    ("key_shape", "index", "message"),
    [
        ((2, 12, 4), 12, r"0\.\.11"),
        ((2, 12, 4), -1, r"0\.\.11"),
        ((2, 11, 4), 0, r"\(2, 11, 4\)"),
    ],
)
def test_bad_arguments(attend: type[dependency_rows], key_shape: tuple, index: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attend(np.zeros((2, 12, 4), np.float32), np.zeros(key_shape, np.float32), [index])


def poses_with_keypoint_at(crop_xy: tuple[float, float], grid: tuple[int, int]) -> Poses:
    """One person whose left wrist lies at a point of the crop."""
    crop_to_image = invert_affines(crop_affines([[300, 200]], [[0.8, 1.0666667]], INPUT))
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, 9] = apply_affine(crop_xy, crop_to_image[0])
    queries, keys = queries_keys(2, grid[0] * grid[1], 8)
    return Poses(
        keypoints=keypoints,
        scores=np.ones((1, 17), np.float32),
        boxes=np.float32([[0, 0, 1, 1]]),
        person_scores=np.ones(1, np.float32),
        skeleton=COCO17,
        attention=Attention(queries[None], keys[None], crop_to_image.astype(np.float32), grid, INPUT),
    )


@pytest.mark.parametrize(
    ("grid", "heatmap_xy", "cell"),
    [
        ((32, 24), (20, 30), (10, 15)),  # 1/8 grid: cell = heatmap px // 2
        ((32, 24), (21.4, 31.4), (10, 15)),  # rounded to px 21 and 31 first
        ((32, 24), (21.6, 31.6), (11, 16)),
        ((64, 48), (20, 30), (20, 30)),  # 1/4 grid: the heatmap's own px
        ((32, 24), (-9, 99), (0, 31)),  # outside the crop: clipped to the grid
    ],
)
def test_location_and_values(grid: tuple[int, int], heatmap_xy: tuple[float, float], cell: tuple[int, int]) -> None:
    crop_xy = (heatmap_xy[0] * 191 / 47, heatmap_xy[1] * 255 / 63)
    poses = poses_with_keypoint_at(crop_xy, grid)
    assert poses.attention is not None
    index = cell[1] * grid[1] + cell[0]
    whole = full_map(poses.attention.queries[0], poses.attention.keys[0])
    dependency = dependency_area(poses, 0, "left_wrist")
    affected = affected_area(poses, 0, 9)
    assert dependency.location == affected.location == cell
    assert dependency.keypoint == affected.keypoint == "left_wrist"
    np.testing.assert_allclose(dependency.grid, whole[index].reshape(grid), atol=1e-6)
    np.testing.assert_allclose(affected.grid, whole[:, index].reshape(grid), atol=1e-6)


@pytest.mark.parametrize(
    ("grid", "cell", "heatmap_xy"),
    [
        ((32, 24), (0, 0), (0.5, 0.5)),  # a cell of 2 x 2 px has its centre between them
        ((32, 24), (10, 15), (20.5, 30.5)),
        ((64, 48), (10, 15), (10, 15)),
    ],
)
def test_transform_takes_cell_centres_to_the_image(grid: tuple, cell: tuple, heatmap_xy: tuple) -> None:
    poses = poses_with_keypoint_at((50, 60), grid)
    assert poses.attention is not None
    area = dependency_area(poses, 0, "nose")
    crop_xy = (heatmap_xy[0] * 191 / 47, heatmap_xy[1] * 255 / 63)
    expected = apply_affine(crop_xy, poses.attention.crop_affines[0].astype(np.float64))
    np.testing.assert_allclose(apply_affine(cell, area.transform), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "relative", "expected"),
    [
        (0.3, False, [[False, False], [True, True]]),  # the threshold itself counts
        (0.31, False, [[False, False], [False, True]]),
        (1.2, True, [[False, False], [True, True]]),  # 1.2 times uniform attention, 1/4
        (0.0, False, [[True, True], [True, True]]),
    ],
)
def test_threshold(value: float, relative: bool, expected: list) -> None:
    grid = np.float32([[0.1, 0.2], [0.3, 0.4]])
    area = DependencyArea(grid, np.eye(3)[:2], "nose", (0, 0))
    np.testing.assert_array_equal(area.threshold(np.float32(value), relative), expected)


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("0.01", Threshold(0.01)),
        ("7.5e-4", Threshold(0.00075)),
        ("2x", Threshold(2.0, relative=True)),
        ("0", Threshold(0.0)),
    ],
)
def test_thresholds(text: str, threshold: Threshold) -> None:
    assert Threshold.parse(text) == threshold


@pytest.mark.parametrize("text", ["", "x", "two", "-1", "nan", "inf", "2 x uniform"])
def test_bad_thresholds(text: str) -> None:
    with pytest.raises(InputError, match="no threshold"):
        Threshold.parse(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"person": 1}, "no person 1"),
        ({"person": -1}, "no person -1"),
        ({"keypoint": "left_wing"}, "no keypoint 'left_wing'"),
        ({"keypoint": 17}, "no keypoint 17"),
    ],
)
def test_what_is_not_there_is_refused(arguments: dict, message: str) -> None:
    poses = poses_with_keypoint_at((50, 60), (32, 24))
    defaults = {"person": 0, "keypoint": "nose"}
    with pytest.raises(InputError, match=message):
        dependency_area(poses, **{**defaults, **arguments})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grid": (64, 48)}, "3072 cells"),  # of another network
        ({"keys": np.zeros((1, 2, 767, 8), np.float32)}, r"keys of \(1, 2, 767, 8\)"),
        ({"crop_affines": np.zeros((2, 2, 3), np.float32)}, r"crop_affines of \(2, 2, 3\): give \(1, 2, 3\)"),
    ],
)
def test_attention_that_does_not_fit_together_is_refused(changed: dict, message: str) -> None:
    attention = poses_with_keypoint_at((50, 60), (32, 24)).attention
    assert attention is not None
    with pytest.raises(InputError, match=message):
        dataclasses.replace(attention, **changed)


def test_poses_without_attention_are_refused() -> None:
    poses = dataclasses.replace(poses_with_keypoint_at((50, 60), (32, 24)), attention=None)
    with pytest.raises(InputError, match="carry no attention"):
        dependency_area(poses, 0, "nose")


@pytest.mark.parametrize("mode", ["dependency", "affected"])
def test_several_keypoints_at_once_are_those_one_by_one(mode: str) -> None:
    poses = poses_with_keypoint_at((50, 60), (32, 24))
    single = {"dependency": dependency_area, "affected": affected_area}[mode]
    for area in attention_areas(poses, 0, ["left_wrist", 0, "nose"], mode):
        expected = single(poses, 0, area.keypoint)
        np.testing.assert_allclose(area.grid, expected.grid, atol=1e-7)
        assert area.location == expected.location


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(InputError, match="no attention mode 'sideways'"):
        attention_areas(poses_with_keypoint_at((50, 60), (32, 24)), 0, [0], "sideways")


def test_every_layer_equals_the_networks_own_maps() -> None:
    torch = pytest.importorskip("torch", reason="the networks need torch")
    from transpose_sdk.models import create_model
    from transpose_sdk.models.layer_attention import layer_poses
    from transpose_sdk.models.preprocessing import Preprocessing

    torch.manual_seed(0)
    model = create_model("tp_m", input_size=(64, 48), layers=3, d_model=32, ffn=48, heads=4).eval()
    image = np.random.default_rng(1).integers(0, 255, (64, 48, 3), np.uint8)
    boxes = np.float32([[0.1 * 48, 0.1 * 64, 0.8 * 48, 0.8 * 64]])
    layers = layer_poses(model, image, boxes, np.ones(1, np.float32), COCO17)
    assert layers[0].attention is not None
    affine = invert_affines(layers[0].attention.crop_affines)
    crop = warp_crops(image, affine, (64, 48))
    with torch.inference_mode():
        maps = model.attention_maps(Preprocessing()(torch.from_numpy(crop)))
    assert len(layers) == len(maps) == 3
    for poses, whole in zip(layers, maps, strict=True):
        np.testing.assert_array_equal(poses.keypoints, layers[0].keypoints)
        rows = dependency_rows(poses.attention.queries[0], poses.attention.keys[0], range(48))
        np.testing.assert_allclose(rows, whole[0].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["tp_r_a3", "tp_h_s"])
def test_equals_the_published_networks(name: str, shared: Path) -> None:
    torch = pytest.importorskip("torch", reason="the networks need torch")
    from transpose_sdk.models import create_model

    salt = b"shared-"  # the rule by which the weights and the input of the published outputs were made
    model = create_model(name).eval()
    state = model.state_dict()
    for key, old in state.items():
        if key.endswith("num_batches_tracked") or key == "pos_embedding":
            continue
        rng, shape = np.random.default_rng(zlib.crc32(salt + key.encode())), tuple(old.shape)
        if key.endswith("running_var") or (len(shape) <= 1 and key.endswith("weight")):
            value = rng.uniform(0.5, 1.5, shape)
        elif key.endswith("running_mean") or len(shape) <= 1:
            value = 0.1 * rng.standard_normal(shape)
        else:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        state[key] = torch.from_numpy(value.astype(np.float32))
    model.load_state_dict(state)
    images = np.random.default_rng(zlib.crc32(salt + b"input")).standard_normal((2, 3, 256, 192))[:1]
    with torch.inference_mode():
        output = model.forward_with_attention(torch.from_numpy(images.astype(np.float32)))
    queries, keys = output.queries[0].numpy(), output.keys[0].numpy()
    length = queries.shape[1]
    indices = [0, length // 3, length // 2 + 7]
    with np.load(shared / "reference" / "official_outputs.npz") as published:
        rows, columns = published[f"{name}/attn_rows"], published[f"{name}/attn_cols"]
    np.testing.assert_allclose(dependency_rows(queries, keys, indices), rows, rtol=0, atol=1e-5)
    np.testing.assert_allclose(affected_columns(queries, keys, indices), columns, rtol=0, atol=1e-5)
