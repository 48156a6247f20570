"""MobileNetV2's feature layers (Sandler et al. 2018, table 2), numbered as in torchvision's first version."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

STEM_CHANNELS = 64  # of features.10
FINE_CHANNELS = 32  # of features.6, at stride 8
DEEP_CHANNELS = 96  # of features.13, at stride 16

# features.1 to features.13: output channels, stride, expansion.
_BLOCKS = (
    (16, 1, 1),
    (24, 2, 6),
    (24, 1, 6),
    (32, 2, 6),
    (32, 1, 6),
    (FINE_CHANNELS, 1, 6),
    (64, 2, 6),
    (64, 1, 6),
    (64, 1, 6),
    (STEM_CHANNELS, 1, 6),
    (96, 1, 6),
    (96, 1, 6),
    (DEEP_CHANNELS, 1, 6),
)


class Depthwise(nn.Conv2d):
    """3x3 depthwise convolution.

    PyTorch's backward pass of one with a stride takes 10 times as long on a CPU as that of the whole map (60 ms against
    7 for 32 maps of 192x24x18 to half their size), so in training there every second cell of the whole map is taken.
    """

    def __init__(self, channels: int, stride: int, dilation: int = 1, bias: bool = False) -> None:
        super().__init__(channels, channels, 3, stride, padding=dilation, dilation=dilation, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to (N, channels, h / stride, w / stride)."""
        step = self.stride[0]
        if step == 1 or x.is_cuda or not (self.training and self.weight.requires_grad):
            return super().forward(x)
        whole = functional.conv2d(x, self.weight, self.bias, 1, self.padding, self.dilation, self.groups)
        return whole[:, :, ::step, ::step]


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise and linear 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, dilation: int = 1) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        hidden = in_channels * expansion
        expand = [nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)]
        self.conv = nn.Sequential(
            *(expand if expansion != 1 else []),
            Depthwise(hidden, stride, dilation),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, out_channels, h / stride, w / stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


def mobilenet_features(last: int, output_stride: int = 16, dilation: int = 1) -> nn.Sequential:
    """features.0 to features.`last` (13 at most) of MobileNetV2 at width 1.0.

    Where a stride is given up, a dilation of 2 would let the 3x3 convolutions behind it see what they saw in training
    on ImageNet, but the backward pass of a dilated depthwise convolution takes 20 times as long on a CPU (99 ms instead
    of 5 for 8 maps of 384x32x24), and an encoder sees everything anyway.

    Args:
        last: 10 gives `STEM_CHANNELS` channels, 13 `DEEP_CHANNELS`.
        output_stride: Input px for one of the output; a block that would pass it gives up its stride.
        dilation: Of the depthwise convolutions behind a stride that is given up.
    """
    layers: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(3, 32, 3, 2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(inplace=True))
    ]
    channels, reached, spread = 32, 2, 1
    for out_channels, stride, expansion in _BLOCKS[:last]:
        kept = stride if reached * stride <= output_stride else 1
        layers.append(InvertedResidual(channels, out_channels, kept, expansion, spread))
        channels, reached = out_channels, reached * kept
        if kept < stride:
            spread = dilation
    features = nn.Sequential(*layers)
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return features
