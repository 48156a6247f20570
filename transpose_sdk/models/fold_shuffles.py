"""TP-L without its channel shuffles: channels stay where they are made, and the weights behind them know where that is.

A shuffle unit sends the first half of its channels on and works on the second, and its shuffle decides which channels
are in which half next. Here new channels are put behind those that went on. What a unit works on is then scattered: its
first convolution reads all channels, with weights of 0 for those that go on, and these are a few slices.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.models.lite_hrnet import ENTRY_WIDTH, Entry, FusionModule, LiteHRNet, ShuffleUnit, parts
from transpose_sdk.models.transpose import TransPoseL

_Order = list[int]  # which channel of the network lies at each place


def fold_shuffles(model: TransPoseL) -> TransPoseL:
    """A copy of a network that gives the same, up to rounding, without shuffles; for export, not for training."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        middle, coarse = _fold_stem(model.lite_hrnet)
        fine_channels, middle_channels = 16 * parts(model.lite_hrnet.decoder[-1])[1].out_channels, 4 * len(middle)
        fine, folded, last = model.reduce.weight.split((fine_channels, middle_channels, len(coarse)), dim=1)
        folded = folded.unflatten(1, (len(middle), 4))[:, middle].flatten(1, 2)
        model.reduce.weight.copy_(torch.cat((fine, folded, last[:, coarse]), dim=1))
    return model


class FoldedUnit(nn.Module):
    """A shuffle unit whose input lies in another order.

    Args:
        unit: The unit.
        order: Which of its channels lies at each place of the input.
        ascending: Whether the new channels that stay longest come first. Neighbours that differ in this keep what goes
            on in one slice: it is the end of the one and the beginning of the other.
    """

    def __init__(self, unit: ShuffleUnit, order: _Order, ascending: bool) -> None:
        super().__init__()
        half = len(order) // 2
        kept = [place for place, channel in enumerate(order) if channel < half]
        self.slices = _runs(kept)
        changed = [place for place, channel in enumerate(order) if channel >= half]
        self.mix = nn.Conv2d(2 * half, half, 1)
        self.mix.weight.zero_()
        self.mix.weight[:, changed] = unit.mix.weight[:, [order[place] - half for place in changed]]
        self.mix.get_parameter("bias").copy_(unit.mix.get_parameter("bias"))
        self.spread = copy.deepcopy(unit.spread)
        new = list(range(half)) if ascending else list(reversed(range(half)))
        _rearrange(self.spread[1], new, None)
        # Channel c goes on as 2 c, new channel c becomes 2 c + 1.
        self.order = [2 * order[place] for place in kept] + [2 * channel + 1 for channel in new]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, h, w) to the same shape, channels in `order`."""
        # Not one split into all parts, which takes OpenVINO 1.7 times as long over the whole stem.
        kept = [x[:, start:stop] for start, stop in self.slices]
        return torch.cat((*kept, self.spread(functional.relu(self.mix(x)))), dim=1)


class FoldedEntry(nn.Module):
    """The entry with its two halves one behind the other."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.conv, self.direct, self.expand, self.deep = entry.conv, entry.direct, entry.expand, entry.deep
        half = ENTRY_WIDTH // 2
        self.order = [2 * channel for channel in range(half)] + [2 * channel + 1 for channel in range(half)]

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 32, H / 4, W / 4), channels in `order`."""
        direct, deep = functional.relu(self.conv(images)).chunk(2, dim=1)
        return torch.cat((self.direct(direct), self.deep(functional.relu(self.expand(deep)))), dim=1)


def _fold_stem(network: LiteHRNet) -> tuple[_Order, _Order]:
    """Fold in place; the orders of the second and the third map that it gives."""
    entry = FoldedEntry(network.entry)
    network.entry = entry  # type: ignore[assignment]
    orders: list[_Order] = []
    units: list[int] = []
    for stage, transitions in zip(parts(network.stages), map(parts, parts(network.transitions)), strict=True):
        source = orders[-1] if orders else entry.order
        for transition in transitions:
            # What stays longest comes last, so that it lies beside the longest of the first unit's new channels.
            orders.append(list(reversed(range(transition[1].out_channels))))
            units.append(0)
            _rearrange_separable(transition, orders[-1], source)
        for module in parts(stage):
            for branch, unfolded in enumerate(module.branches):
                for place, unit in enumerate(unfolded):
                    folded = FoldedUnit(unit, orders[branch], ascending=units[branch] % 2 == 0)
                    unfolded[place], orders[branch] = folded, folded.order
                    units[branch] += 1
            _rearrange_fusion(module, orders)
    following: list[_Order | None] = [*orders[-2::-1], None]
    for block, source, target in zip(parts(network.decoder), orders[::-1], following, strict=True):
        _rearrange_separable(block, target, source)
    return orders[1], orders[2]


def _rearrange_fusion(module: FusionModule, orders: Sequence[_Order]) -> None:
    for target, paths in enumerate(map(parts, parts(module.fuse_layers))):
        for source, path in enumerate(paths):
            if isinstance(path, nn.Conv2d):
                _rearrange(path, orders[target], orders[source])
            elif source != target:
                blocks = parts(path)
                for place, block in enumerate(blocks):
                    _rearrange_separable(
                        block,
                        orders[target] if place == len(blocks) - 1 else None,
                        orders[source] if place == 0 else None,
                    )


def _rearrange_separable(block: nn.Sequential, outputs: _Order | None, inputs: _Order | None) -> None:
    _rearrange(block[0], inputs, None)
    _rearrange(block[1], outputs, inputs)


def _rearrange(layer: nn.Module, outputs: _Order | None, inputs: _Order | None) -> None:
    """Give a convolution's outputs, and take its inputs, in another order; None leaves it."""
    assert isinstance(layer, nn.Conv2d)
    if outputs is not None:
        layer.weight.copy_(layer.weight[outputs].clone())
        layer.get_parameter("bias").copy_(layer.get_parameter("bias")[outputs].clone())
    if inputs is not None:
        layer.weight.copy_(layer.weight[:, inputs].clone())


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours among ascending places as slices, (first, last + 1)."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs
