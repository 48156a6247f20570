"""OKS against the published evaluation written as a loop, and greedy OKS-NMS."""

from __future__ import annotations

import numpy as np
import pytest

from transpose_sdk.errors import InputError
from transpose_sdk.oks import oks, oks_nms
from transpose_sdk.skeletons import COCO17


def plain_oks(reference: np.ndarray, candidate: np.ndarray, area: float, visible: np.ndarray) -> float:
    """As in pycocotools' computeOks, joint by joint."""
    terms = []
    for (x, y), (u, v), sigma, seen in zip(reference, candidate, COCO17.sigmas, visible, strict=True):
        if seen:
            terms.append(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma) ** 2 / (area + np.spacing(1)) / 2))
    return float(np.mean(terms)) if terms else 0.0


def test_oks_equals_loop() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 100, (3, 17, 2))
    candidates = np.concatenate((reference + rng.normal(0, 3, reference.shape), reference[:1]))
    areas = np.array([500.0, 2000.0, 9000.0])
    visible = rng.random((3, 17)) > 0.4
    visible[2] = False  # no joint counts: similarity 0
    actual = oks(reference, candidates, areas, COCO17, visible)
    expected = [[plain_oks(r, c, a, v) for c in candidates] for r, a, v in zip(reference, areas, visible, strict=True)]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert actual[0, 3] == 1


def test_oks_of_nobody() -> None:
    assert oks(np.zeros((0, 17, 2)), np.zeros((4, 17, 2)), np.zeros(0), COCO17).shape == (0, 4)
    assert oks(np.zeros((4, 17, 2)), np.zeros((0, 17, 2)), np.zeros(4), COCO17).shape == (4, 0)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 17, 2), (2, 16, 2), (2,)), "17 sigmas"),
        (((2, 17, 3), (2, 17, 3), (2,)), "17 sigmas"),
        (((17, 2), (2, 17, 2), (2,)), "17 sigmas"),
        (((2, 17, 2), (3, 17, 2), (3,)), "areas of shape"),
    ],
)
def test_wrong_shapes_are_refused(shapes: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        oks(*(np.ones(shape) for shape in shapes), COCO17)


def poses_at(*offsets: float) -> np.ndarray:
    base = np.random.default_rng(1).uniform(0, 100, (17, 2))
    return np.stack([base + offset for offset in offsets])


@pytest.mark.parametrize(
    ("offsets", "scores", "kept"),
    [
        ((0, 1, 60), (0.5, 0.9, 0.3), [1, 2]),  # the better of two duplicates stays
        ((0, 30, 60), (0.5, 0.9, 0.3), [1, 0, 2]),  # nobody overlaps: all stay, best first
        ((0, 0, 0), (0.2, 0.2, 0.2), [0]),  # a tie: the first
        ((0, 2, 4), (0.9, 0.8, 0.7), [0, 2]),  # greedy: what a dropped pose would have dropped stays
        ((), (), []),
    ],
)
def test_nms(offsets: tuple, scores: tuple, kept: list[int]) -> None:
    keypoints = poses_at(*offsets) if offsets else np.zeros((0, 17, 2))
    assert oks_nms(keypoints, scores, np.full(len(offsets), 10000.0), COCO17).tolist() == kept


def test_nms_takes_the_mean_area_of_a_pair() -> None:
    keypoints, scores = poses_at(0, 4), (0.9, 0.8)
    similarity = oks(keypoints[:1], keypoints[1:], [5000.0], COCO17)[0, 0]
    assert len(oks_nms(keypoints, scores, [1000.0, 9000.0], COCO17, similarity + 0.01)) == 2
    assert len(oks_nms(keypoints, scores, [1000.0, 9000.0], COCO17, similarity - 0.01)) == 1
