"""Heatmap targets and the loss against the published rule, written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")

from transpose_sdk.trainers.data.targets import heatmap_loss, heatmap_targets  # noqa: E402

SIZE = (64, 48)


def published_target(
    x: float, y: float, weight: float, size: tuple[int, int] = SIZE, sigma: float = 2.0
) -> tuple[NDArray[np.float64], float]:
    """One joint's heatmap and weight: a Gaussian on the unrounded joint, nothing where its square misses the map."""
    height, width = size
    left, top = int(x - 3 * sigma), int(y - 3 * sigma)
    right, bottom = int(x + 3 * sigma + 1), int(y + 3 * sigma + 1)
    heatmap = np.zeros(size)
    if weight == 0 or left >= width or top >= height or right < 0 or bottom < 0:
        return heatmap, 0.0
    for row in range(height):
        for column in range(width):
            heatmap[row, column] = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return heatmap, weight


@pytest.mark.parametrize(
    ("x", "y", "weight", "kept"),
    [
        (20.0, 30.0, 1.0, True),  # on a pixel
        (20.37, 30.81, 1.0, True),  # between pixels: the peak stays below 1
        (0.0, 0.0, 1.0, True),  # a quarter of the Gaussian is inside
        (-4.2, 30.0, 1.0, True),  # the joint is outside, its square is not
        (-7.99, 30.0, 1.0, True),  # the last that counts: int(-7.99 + 7) is 0
        (-8.0, 30.0, 1.0, False),  # the first that does not
        (53.99, 30.0, 1.0, True),  # int(53.99 - 6) is 47, the last column
        (54.0, 30.0, 1.0, False),  # int(54 - 6) is 48
        (20.0, -7.99, 1.0, True),  # the same at the top
        (20.0, -8.0, 1.0, False),
        (20.0, 69.99, 1.0, True),  # and at the bottom
        (20.0, 70.0, 1.0, False),
        (500.0, -300.0, 1.0, False),  # far away
        (20.0, 30.0, 0.0, False),  # unknown
        (20.0, 30.0, 0.25, True),  # a teacher's joint: full height, a quarter of the weight
    ],
)
def test_targets_follow_the_published_rule(x: float, y: float, weight: float, kept: bool) -> None:
    expected, expected_weight = published_target(x, y, weight)
    targets, weights = heatmap_targets(torch.tensor([[[x, y]]]), torch.tensor([[weight]]), SIZE)
    assert (expected_weight > 0) == kept
    assert weights.item() == expected_weight
    np.testing.assert_allclose(targets[0, 0].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "sigma"), [((64, 48), 2.0), ((96, 72), 3.0), ((16, 12), 1.0)])
def test_targets_of_a_batch(size: tuple[int, int], sigma: float) -> None:
    rng = np.random.default_rng(1)
    joints = rng.uniform(-0.4, 1.4, (3, 17, 2)).astype(np.float32) * np.float32(size[::-1])
    weights = rng.choice(np.float32([0, 0.3, 1]), (3, 17))
    targets, kept = heatmap_targets(torch.from_numpy(joints), torch.from_numpy(weights), size, sigma)
    for person in range(3):
        for joint in range(17):
            x, y = joints[person, joint].tolist()
            heatmap, weight = published_target(x, y, weights[person, joint].item(), size, sigma)
            assert kept[person, joint].item() == weight
            np.testing.assert_allclose(targets[person, joint].numpy(), heatmap, rtol=0, atol=1e-6)


def test_loss_follows_the_published_rule() -> None:
    rng = np.random.default_rng(2)
    heatmaps, targets = rng.normal(size=(2, 2, 5, 16, 12)).astype(np.float32)
    weights = np.float32([[1, 0, 0.5, 1, 1], [0, 0, 1, 0.25, 1]])
    expected = 0.0
    for joint in range(5):  # the mean over joints of half the squared error over a batch's maps
        errors = [weights[n, joint] * (heatmaps[n, joint] - targets[n, joint]).astype(np.float64) for n in range(2)]
        expected += 0.5 * np.mean(np.square(errors)) / 5
    loss = heatmap_loss(torch.from_numpy(heatmaps), torch.from_numpy(targets), torch.from_numpy(weights))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_unknown_joints_give_no_gradient() -> None:
    heatmaps = torch.randn(1, 2, 16, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets, weights = heatmap_targets(torch.tensor([[[5.0, 5.0], [5.0, 5.0]]]), torch.tensor([[1.0, 0.0]]), (16, 12))
    heatmap_loss(heatmaps, targets, weights).backward()
    assert heatmaps.grad is not None
    assert heatmaps.grad[0, 0].abs().max() > 0
    assert heatmaps.grad[0, 1].abs().max() == 0
