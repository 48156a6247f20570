"""Parts of HRNet (Sun et al. 2019) with the names of the published weights: the stem of TP-H is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.models.resnet import BasicBlock


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, BatchNorm and ReLU."""
    return nn.Sequential(*_conv_bn(in_channels, out_channels, stride), nn.ReLU(inplace=True))


class HighResolutionModule(nn.Module):
    """Branches at 1/4, 1/8, ... of the input, four `BasicBlock` each, then every output sums all branches.

    Args:
        widths: Channels of the branches, the largest map first.
        outputs: Branches that go on, the first ones; None means all.
    """

    def __init__(self, widths: Sequence[int], outputs: int | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(width) for _ in range(4))) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse_path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths) if outputs is None else outputs)
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Map branches i of (N, widths[i], h / 2^i, w / 2^i) to the outputs, of the same shapes."""
        features = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        fused = []
        for paths in self.fuse_layers:
            terms = [path(x) for path, x in zip(paths.children(), features, strict=True)]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            fused.append(functional.relu(total))
        return fused


def _fuse_path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """What brings branch `source` to the size and the channels of branch `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(widths[source], widths[target], 1, bias=False),
            nn.BatchNorm2d(widths[target]),
            nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest"),
        )
    halvings = [conv_bn_relu(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, nn.Sequential(*_conv_bn(widths[source], widths[target], stride=2)))


def _conv_bn(in_channels: int, out_channels: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out_channels)
