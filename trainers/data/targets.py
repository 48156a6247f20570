"""Heatmap targets and the loss on them, in batches on the device of the network."""

from __future__ import annotations

import torch
from torch import Tensor


def heatmap_targets(
    joints: Tensor, weights: Tensor, heatmap_size: tuple[int, int], sigma: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Unbiased Gaussians, centred on the joint to fractions of a pixel (DARK).

    Args:
        joints: (N, K, 2) in heatmap px.
        weights: (N, K), 0 for unknown joints.
        heatmap_size: (height, width).
        sigma: Deviation in heatmap px.

    Returns:
        Targets (N, K, height, width) with a peak of 1, and weights (N, K), 0 also where the square of 3 sigma around
        the joint lies wholly outside the heatmap. The target of a joint of weight 0 is 0.
    """
    height, width = heatmap_size
    # The published rule truncates the corners of the square towards zero, and its far corner is one pixel further.
    low = (joints - 3 * sigma).trunc()
    high = (joints + 3 * sigma + 1).trunc()
    size = joints.new_tensor((width, height))
    weights = weights * ((low < size) & (high >= 0)).all(-1)
    columns = torch.arange(width, device=joints.device, dtype=joints.dtype)
    rows = torch.arange(height, device=joints.device, dtype=joints.dtype)
    across = torch.exp(-((columns - joints[..., :1]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((rows - joints[..., 1:]) ** 2) / (2 * sigma**2))
    # Separable: K * (H + W) exponentials instead of K * H * W.
    down = down * (weights > 0)[..., None]
    return down[..., :, None] * across[..., None, :], weights


def heatmap_loss(heatmaps: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean over joints of 0.5 * MSE(w * predicted, w * target), the published loss.

    Args:
        heatmaps: (N, K, H, W).
        targets: (N, K, H, W).
        weights: (N, K).
    """
    difference = (heatmaps - targets) * weights[..., None, None]
    return 0.5 * difference.square().mean()
