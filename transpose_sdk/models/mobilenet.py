"""MobileNetV2 to features.10 (Sandler et al. 2018, table 2), kept at stride 8: the stem of TP-M."""

from __future__ import annotations

from torch import Tensor, nn

STEM_CHANNELS = 64


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise and linear 1x1 convolution; numbering as in torchvision's first MobileNetV2."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, dilation: int = 1) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        hidden = in_channels * expansion
        expand = [nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)]
        self.conv = nn.Sequential(
            *(expand if expansion != 1 else []),
            nn.Conv2d(hidden, hidden, 3, stride, padding=dilation, dilation=dilation, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, out_channels, h / stride, w / stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


def mobilenet_features(dilation: int = 1) -> nn.Sequential:
    """features.0..10 of MobileNetV2 at width 1.0, (N, 3, H, W) to (N, 64, H / 8, W / 8).

    features.7 gives up its stride of 2. With a dilation of 2 the 3x3 convolutions behind it would see what they saw in
    training on ImageNet, but the backward pass of a dilated depthwise convolution takes 20 times as long on a CPU
    (99 ms instead of 5 for 8 maps of 384x32x24), and the encoder sees everything anyway.

    Args:
        dilation: Of the depthwise convolutions of features.8 to features.10.
    """
    features = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 32, 3, 2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(inplace=True)),
        InvertedResidual(32, 16, stride=1, expansion=1),
        InvertedResidual(16, 24, stride=2, expansion=6),
        InvertedResidual(24, 24, stride=1, expansion=6),
        InvertedResidual(24, 32, stride=2, expansion=6),
        InvertedResidual(32, 32, stride=1, expansion=6),
        InvertedResidual(32, 32, stride=1, expansion=6),
        InvertedResidual(32, STEM_CHANNELS, stride=1, expansion=6),
        *(InvertedResidual(STEM_CHANNELS, STEM_CHANNELS, 1, expansion=6, dilation=dilation) for _ in range(3)),
    )
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return features
