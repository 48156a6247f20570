"""Lite-HRNet (Yu et al., CVPR 2021) as in PP-TinyPose (PaddleDetection): the stem of TP-L.

Widths 40, 80, 160 and 320 at 1/4, 1/8, 1/16 and 1/32 of the input. The published weights have their batch
normalisation folded into convolutions with a bias, and so has this network: what is learned are those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.models.mobilenet import Depthwise

WIDTHS = (40, 80, 160, 320)
ENTRY_WIDTH = 32  # channels of the first convolution, and of the shuffle unit behind it
MODULES = (2, 4, 2)  # of stages 2, 3 and 4, which have as many branches
UNITS = 2  # of a branch of a module

# The published weights give finest features that are 140 times smaller than the coarser ones (deviations of .036
# against 5.1 and 5.2), too small for new layers behind them to see. They are read times this; a power of two rounds
# nothing.
FINE_SCALE = 64


class LiteHRNet(nn.Module):
    """The network to the three maps that its heatmaps are made of.

    `entry`, stages 2 to 4 of modules that exchange features between resolutions, then `decoder`, which carries the
    coarsest features to the finest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entry = Entry()
        self.transitions = nn.ModuleList(
            [
                nn.ModuleList([_separable(ENTRY_WIDTH, WIDTHS[0], 1), _separable(ENTRY_WIDTH, WIDTHS[1], 2)]),
                nn.ModuleList([_separable(WIDTHS[1], WIDTHS[2], 2)]),
                nn.ModuleList([_separable(WIDTHS[2], WIDTHS[3], 2)]),
            ]
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(FusionModule(WIDTHS[: stage + 2]) for _ in range(count)))
            for stage, count in enumerate(MODULES)
        )
        self.decoder = nn.ModuleList(
            _separable(width, next_width, 1)
            for width, next_width in zip(WIDTHS[::-1], (*WIDTHS[-2::-1], WIDTHS[0]), strict=True)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (N, 3, H, W) to (N, 40, H / 4, W / 4), (N, 80, H / 8, W / 8) and (N, 160, H / 16, W / 16)."""
        return self.late(self.early(images))

    def early(self, images: Tensor) -> list[Tensor]:
        """Map images to the three branches after stage 3: what stays frozen longest in training."""
        x = self.entry(images)
        second, third, _ = parts(self.stages)
        first, next_one, _ = map(parts, parts(self.transitions))
        branches = second([transition(x) for transition in first])
        return list(third([*branches, next_one[0](branches[-1])]))

    def late(self, branches: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Map the branches after stage 3 to what `forward` gives."""
        (transition,) = parts(self.transitions[2])
        branches = self.stages[2]([*branches, transition(branches[-1])])
        sums: list[Tensor] = []
        x = branches[-1]
        for branch, block in zip(branches[::-1], self.decoder, strict=True):
            if sums:
                x = functional.interpolate(x, branch.shape[2:], mode="bilinear", align_corners=True)
            sums.append(branch + x if sums else branch)
            x = block(sums[-1])
        return x, sums[2], sums[1]


class Entry(nn.Module):
    """A 3x3 convolution and a shuffle unit, each of which halves the map."""

    def __init__(self) -> None:
        super().__init__()
        half = ENTRY_WIDTH // 2
        self.conv = nn.Conv2d(3, ENTRY_WIDTH, 3, stride=2, padding=1)
        self.direct = _separable(half, half, 2)
        self.expand = nn.Conv2d(half, ENTRY_WIDTH, 1)
        self.deep = _separable(ENTRY_WIDTH, half, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 32, H / 4, W / 4)."""
        direct, deep = functional.relu(self.conv(images)).chunk(2, dim=1)
        return shuffle(self.direct(direct), self.deep(functional.relu(self.expand(deep))))


class ShuffleUnit(nn.Module):
    """One half of the channels goes through 1x1, depthwise 3x3 and 1x1 convolutions, the other half as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width // 2, width // 2, 1)
        self.spread = _separable(width // 2, width // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, h, w) to the same shape."""
        kept, changed = x.chunk(2, dim=1)
        return shuffle(kept, self.spread(functional.relu(self.mix(changed))))


class FusionModule(nn.Module):
    """Two shuffle units a branch, then every branch sums all of them.

    Args:
        widths: Channels of the branches, the largest map first.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(ShuffleUnit(width) for _ in range(UNITS))) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse_path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Map branches i of (N, widths[i], h / 2^i, w / 2^i) to the same shapes."""
        features = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        sums: list[Tensor] = []
        for target, paths in enumerate(self.fuse_layers):
            terms = [path(x) for path, x in zip(paths.children(), features, strict=True)]
            # As published: the finest branch counts twice, and the others get it with all of its sum, not as it was.
            total = 2 * terms[0]
            for source, term in enumerate(terms[1:], 1):
                larger = functional.interpolate(term, total.shape[2:], mode="nearest") if source > target else term
                total = total + larger
            if not sums:
                features[0] = total
            sums.append(total)
        return [functional.relu(total) for total in sums]


def parts(container: nn.Module) -> list[Any]:
    """The modules of a container, of which torch only says that they are modules."""
    return list(container.children())


def shuffle(first: Tensor, second: Tensor) -> Tensor:
    """Channels of both (N, C, h, w), alternating, as (N, 2 C, h, w)."""
    return torch.cat((first, second), dim=1).unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def _separable(channels: int, out_channels: int, stride: int, relu: bool = True) -> nn.Sequential:
    """Depthwise 3x3 and 1x1 convolution."""
    depthwise = Depthwise(channels, stride, bias=True)
    return nn.Sequential(depthwise, nn.Conv2d(channels, out_channels, 1), *([nn.ReLU(inplace=True)] if relu else []))


def _fuse_path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """What brings branch `source` to the channels of branch `target`, and if that is smaller to its size too."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Conv2d(widths[source], widths[target], 1)
    halvings = [_separable(widths[source], widths[source], 2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, _separable(widths[source], widths[target], 2, relu=False))
