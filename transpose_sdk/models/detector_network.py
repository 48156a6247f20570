"""The person detector that ships: an anchor-free, single-class network over the MobileNetV2 stem of tp_m.

The stem runs at its native strides (4, 8, 16), three inverted residuals of our own add stride 32, and a top-down
pyramid carries the context of full-frame people down to the cells of small ones. Every cell of the three levels
predicts whether it belongs to a person and how far the four sides of that person's box are away, as in FCOS
(Tian et al., 2019). One class, one head a level, no anchors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.models.mobilenet import STEM_CHANNELS, InvertedResidual, mobilenet_features

STRIDES = (8, 16, 32)
_PRIOR = 0.01  # the share of cells that hold a person before training: without it the first steps are all background


@dataclass(frozen=True)
class DetectorMaps:
    """What the network says about every cell, levels flattened row-major and joined from stride 8 to 32.

    Attributes:
        logits: (N, A) person logits.
        distances: (N, A, 4) left, top, right, bottom distances from the cell's centre in units of its stride, >= 0.
    """

    logits: Tensor
    distances: Tensor


def _separable(channels: int) -> nn.Sequential:
    """A 3x3 depthwise and a 1x1 convolution, each with its normalisation."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
    )


def _output(channels: int, outputs: int, start: float) -> nn.Conv2d:
    """A last 1x1 convolution that gives `start` everywhere, more or less, before training."""
    layer = nn.Conv2d(channels, outputs, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, start)  # type: ignore[arg-type]
    return layer


class _Head(nn.Module):
    """Person logit and box distances of one pyramid level, on separate branches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.person = nn.Sequential(_separable(channels), _output(channels, 1, -math.log((1 - _PRIOR) / _PRIOR)))
        # softplus(3) = 3: boxes start about six strides wide, the middle of a level's range
        self.box = nn.Sequential(_separable(channels), _output(channels, 4, 3.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.person(x), functional.softplus(self.box(x).float())


class DetectorNetwork(nn.Module):
    """MobileNetV2 stem, stride-32 context, top-down pyramid, one anchor-free head a level.

    Args:
        channels: Width of the pyramid and the heads.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.features = mobilenet_features(10)
        self.context = nn.Sequential(
            InvertedResidual(STEM_CHANNELS, 96, stride=2, expansion=4),
            InvertedResidual(96, 96, stride=1, expansion=4, dilation=2),
            InvertedResidual(96, 96, stride=1, expansion=4, dilation=2),  # its cells see 430 px: a whole frame
        )
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels))
            for width in (32, STEM_CHANNELS, 96)
        )
        self.merge = nn.ModuleList(_separable(channels) for _ in STRIDES)
        self.heads = nn.ModuleList(_Head(channels) for _ in STRIDES)

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per level, fine to coarse: logits (N, 1, h, w) and distances (N, 4, h, w) in strides.

        Args:
            images: (N, 3, H, W) RGB, normalised; H and W multiples of 32.
        """
        fine = self.features[:7](images)
        middle = self.features[7:](fine)
        coarse = self.context(middle)
        p32 = self.merge[2](self.lateral[2](coarse))
        p16 = self.merge[1](self.lateral[1](middle) + functional.interpolate(p32, scale_factor=2.0))
        p8 = self.merge[0](self.lateral[0](fine) + functional.interpolate(p16, scale_factor=2.0))
        return [head(level) for head, level in zip(self.heads, (p8, p16, p32), strict=True)]

    def forward(self, images: Tensor) -> DetectorMaps:
        """Predict every cell.

        Args:
            images: (N, 3, H, W) RGB, normalised with the ImageNet mean and deviation; H and W multiples of 32.

        Raises:
            ValueError: The images have another form.
        """
        shape = tuple(images.shape)
        if not torch.jit.is_tracing() and (len(shape) != 4 or shape[1] != 3 or shape[2] % 32 or shape[3] % 32):  # type: ignore[attr-defined]
            raise ValueError(f"images must be (N, 3, H, W) with H and W multiples of 32, got {shape}")
        levels = self.levels(images)
        return DetectorMaps(
            logits=torch.cat([logits.flatten(1) for logits, _ in levels], 1).float(),
            distances=torch.cat([distances.flatten(2) for _, distances in levels], 2).transpose(1, 2),
        )
