"""The published keypoints, mirror pairs and sigmas, and what a skeleton refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from transpose_sdk.errors import InputError
from transpose_sdk.skeletons import COCO17, MPII16, SKELETONS, Skeleton


@pytest.mark.parametrize(("skeleton", "count"), [(COCO17, 17), (MPII16, 16)])
def test_skeletons_are_whole(skeleton: Skeleton, count: int) -> None:
    assert len(skeleton) == len(set(skeleton.names)) == len(skeleton.sigmas) == count
    assert {joint for edge in skeleton.edges for joint in edge} == set(range(count))
    assert SKELETONS[skeleton.name] is skeleton


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_mirroring_swaps_left_and_right_by_name(skeleton: Skeleton) -> None:
    swap = {"left": "right", "right": "left"}
    for index, name in enumerate(skeleton.names):
        side, _, rest = name.partition("_")
        expected = f"{swap[side]}_{rest}" if side in swap else name
        assert skeleton.names[skeleton.mirrored[index]] == expected
    np.testing.assert_array_equal(skeleton.mirrored[skeleton.mirrored], np.arange(len(skeleton)))


@pytest.mark.parametrize("keypoint", ["left_wrist", 9, np.int64(9)])
def test_index(keypoint: str | int) -> None:
    assert COCO17.index(keypoint) == 9


@pytest.mark.parametrize("keypoint", ["left_wing", 17, -1, "", 1.5, 9.0, True, None])
def test_unknown_keypoint_lists_the_known_ones(keypoint: str | int) -> None:
    with pytest.raises(InputError, match=r"coco17.*nose.*right_ankle"):
        COCO17.index(keypoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": (0.1,)}, "17 names but 1 sigmas"),
        ({"edges": ((0, 17),)}, r"refers to keypoint 0\.\.17"),
        ({"flip_pairs": ((-1, 2),)}, "has 0..16"),
        ({"upper_body": (20,)}, "has 0..16"),
    ],
)
def test_inconsistent_skeleton_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(COCO17, **change)
