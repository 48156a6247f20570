"""Signals of attention: entropy, the regions of a joint, and the occlusion hint."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transpose_sdk.attention import Attention
from transpose_sdk.bundles.bundle import open_bundle
from transpose_sdk.bundles.writer import amend_bundle
from transpose_sdk.crops import crop_affines, invert_affines
from transpose_sdk.dependency import attention_areas
from transpose_sdk.errors import BundleError, InputError
from transpose_sdk.poses import Poses
from transpose_sdk.signals import DEFAULT_RULE, OcclusionRule, attention_entropy, joint_signals, region_shares
from transpose_sdk.skeletons import COCO17, MPII16, Skeleton

GRID, INPUT = (16, 12), (128, 96)
# A chain of three joints on each side that meet nowhere.
ARMS = Skeleton(
    name="arms",
    names=("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist", "nose"),
    edges=((0, 1), (1, 2), (3, 4), (4, 5)),
    flip_pairs=((0, 3), (1, 4), (2, 5)),
    sigmas=(0.1,) * 7,
    upper_body=(),
)
# In cells (x, y); reach is 1.2 cells.
CELLS = np.array([[9, 2], [9, 7], [9, 12], [2, 2], [2, 7], [2, 12], [5, 0]], float)


def fit_occlusion_hint() -> Any:
    """The script in examples."""
    path = Path(__file__).resolve().parents[1] / "examples" / "benchmarks" / "fit_occlusion_hint.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def people(count: int, skeleton: Skeleton = COCO17, scale: float = 1.0) -> Poses:
    """Random people of a 16 x 12 grid with two heads of attention."""
    rng = np.random.default_rng(5)
    queries, keys = (scale * rng.standard_normal((2, count, 2, 192, 8))).astype(np.float32)
    affines = invert_affines(crop_affines(np.full((count, 2), 150.0), np.full((count, 2), 1.0), INPUT))
    return Poses(
        keypoints=rng.uniform(60, 240, (count, len(skeleton), 2)).astype(np.float32),
        scores=rng.uniform(0, 1, (count, len(skeleton))).astype(np.float32),
        boxes=np.tile(np.float32([60, 60, 180, 180]), (count, 1)),
        person_scores=np.ones(count, np.float32),
        skeleton=skeleton,
        attention=Attention(queries, keys, affines.astype(np.float32), GRID, INPUT),
    )


@pytest.mark.parametrize(
    ("row", "entropy"),
    [
        ([0.25, 0.25, 0.25, 0.25], 1.0),
        ([1, 0, 0, 0], 0.0),
        ([0.5, 0.5, 0, 0], 0.5),  # one bit of two
    ],
)
def test_entropy(row: list[float], entropy: float) -> None:
    assert attention_entropy(np.float32([row])) == pytest.approx([entropy], abs=1e-6)


@pytest.mark.parametrize(
    ("keypoint", "cell", "region"),
    [
        ("left_wrist", (9, 12), "joint"),
        ("left_wrist", (10, 12), "joint"),  # within the reach of 1.2 cells
        ("left_wrist", (9, 9), "limb"),  # of the forearm
        ("left_wrist", (10, 8), "limb"),
        ("left_wrist", (9, 4), "elsewhere"),  # the upper arm does not end in the wrist
        ("left_elbow", (9, 4), "limb"),
        ("left_wrist", (2, 12), "mirror"),
        ("left_wrist", (2, 9), "mirror"),  # the other forearm
        ("left_wrist", (5, 14), "elsewhere"),
        ("nose", (5, 0), "joint"),
        ("nose", (9, 2), "elsewhere"),  # has neither limbs nor a mirror
    ],
)
def test_regions(keypoint: str, cell: tuple[int, int], region: str) -> None:
    attention = np.zeros((7, 192), np.float32)
    attention[:, cell[1] * GRID[1] + cell[0]] = 1
    shares = region_shares(attention, CELLS, GRID, ARMS)[:, ARMS.index(keypoint)]
    assert dict(zip(("joint", "limb", "mirror", "elsewhere"), shares, strict=True)) == {
        name: float(name == region) for name in ("joint", "limb", "mirror", "elsewhere")
    }


@pytest.mark.parametrize("skeleton", [COCO17, MPII16])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_shares_sum_to_one_for_every_joint(skeleton: Skeleton, count: int) -> None:
    poses = people(count, skeleton)
    signals = joint_signals(poses)
    total = signals.joint + signals.limb + signals.mirror + signals.elsewhere
    np.testing.assert_allclose(total, np.ones((count, len(skeleton))), atol=1e-5)
    for array in (signals.entropy, signals.occlusion):
        assert array.shape == (count, len(skeleton))
        assert ((array >= 0) & (array <= 1)).all()
    assert signals.occluded.dtype == bool


def test_signals_are_those_of_the_dependency_areas() -> None:
    poses = people(2, scale=1.5)
    signals = joint_signals(poses)
    area = attention_areas(poses, 1, ["left_knee"])[0].grid.astype(float)
    expected = -(area * np.log(area)).sum() / np.log(192)
    assert signals.entropy[1, COCO17.index("left_knee")] == pytest.approx(expected, abs=1e-5)


def test_the_hint_rises_where_the_score_falls() -> None:
    signals = np.full((5, 5), 0.2, np.float32)
    signals[0] = [0.9, 0.7, 0.5, 0.3, 0.1]
    hint = DEFAULT_RULE.hint(*signals)
    assert (np.diff(hint) > 0).all()
    assert ((hint > 0) & (hint < 1)).all()


def test_the_rule_of_a_bundle_decides(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own.tpose"
    shutil.copytree(tiny_bundle, folder)
    assert open_bundle(folder, "pose").occlusion is None
    rule = OcclusionRule((0.0, 0.0, 0.0, 0.0, 0.0, 8.0), 0.6)  # only what lies on the mirror side counts
    bundle = open_bundle(folder, "pose")
    amend_bundle(bundle, occlusion=asdict(rule))
    assert open_bundle(folder, "pose").occlusion == rule
    signals = joint_signals(people(3), rule)
    np.testing.assert_array_equal(signals.occluded, 1 / (1 + np.exp(-8 * signals.mirror)) >= np.float32(0.6))
    assert 0 < signals.occluded.mean() < 1


@pytest.mark.parametrize("entry", [{}, {"weights": [1.0], "threshold": 0.5}, {"weights": "none", "threshold": 1}, 3])
def test_a_damaged_rule_is_told(entry: object, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own.tpose"
    shutil.copytree(tiny_bundle, folder)
    content = json.loads((folder / "bundle.json").read_text()) | {"occlusion": entry}
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"own\.tpose.bundle\.json is incomplete or damaged \(occlusion"):
        open_bundle(folder, "pose")


def test_the_fit_finds_the_rule_behind_the_labels() -> None:
    script, rng = fit_occlusion_hint(), np.random.default_rng(0)
    features = rng.uniform(0, 1, (20000, 5))
    weights = np.array([-1.0, -4.0, 3.0, 0.0, 0.0, 2.0])
    hidden = rng.uniform(size=len(features)) < script.apply(weights, features)
    np.testing.assert_allclose(script.fit(features, hidden), weights, atol=0.25)
    perfect = script.measure(hidden.astype(float), hidden, 0.5)
    assert perfect == {"precision": 1.0, "recall": 1.0, "F1": 1.0, "average_precision": 1.0}
    assert script.measure(rng.uniform(size=len(hidden)), hidden, 0.5)["precision"] == pytest.approx(
        hidden.mean(), abs=0.02
    )


def test_poses_without_attention_are_refused() -> None:
    with pytest.raises(InputError, match="carry no attention"):
        joint_signals(replace(people(1), attention=None))
