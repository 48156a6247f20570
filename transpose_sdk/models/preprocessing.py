"""From the pixels of a crop to a network's input, inside the graph so that nobody pays for it in NumPy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(nn.Module):
    """uint8 BGR pixels, channels last, to normalised RGB, channels first."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        # In 0..255, so that the division by 255 is part of the same two operations.
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Map (N, H, W, 3) uint8 BGR to (N, 3, H, W) float32 RGB, normalised with ImageNet's mean and deviation."""
        images = crops.permute(0, 3, 1, 2).float()
        return (images.flip(1) - self.mean) / self.std
