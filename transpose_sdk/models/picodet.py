"""The person detector that ships: PicoDet-S (Yu et al., PP-PicoDet, 2021), of one class.

An LCNet of .75 width gives features at strides 8, 16 and 32; a pyramid of depthwise 5x5 convolutions carries them to
the finer levels and back, and adds stride 64. A head a level says of each cell how likely it is a person's and, as a
distribution over eight lengths a side (Li et al., Generalized Focal Loss, 2020), where that person's box ends. A cell's
score is the geometric mean of two: one says that a person is here, the other that this is the cell to ask (Feng et al.,
TOOD, 2021). Batch normalisations are folded: the published weights come so, and a fine-tuning at a low rate can do
without.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32, 64)
BINS = 8  # lengths 0..7 strides of a side's distance
_CHANNELS = 96


@dataclass(frozen=True)
class DetectorMaps:
    """What the network says about every cell, levels flattened row-major and joined from stride 8 to 64.

    Attributes:
        person: (N, A) logits that a person is here.
        aligned: (N, A) logits that this cell is the one to ask.
        sides: (N, A, 4, BINS) logits of the left, top, right and bottom distance from the cell's centre, in strides.
    """

    person: Tensor
    aligned: Tensor
    sides: Tensor

    def scores(self) -> Tensor:
        """(N, A) in 0..1."""
        return (self.person.sigmoid() * self.aligned.sigmoid()).sqrt()

    def distances(self) -> Tensor:
        """(N, A, 4) left, top, right, bottom in strides: the means of their distributions."""
        lengths = torch.arange(BINS, dtype=self.sides.dtype, device=self.sides.device)
        return (self.sides.softmax(-1) * lengths).sum(-1)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution with its bias and activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups), nn.Hardswish())


def _separable(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A depthwise and a pointwise convolution."""
    return nn.Sequential(_conv(inputs, inputs, kernel, stride, groups=inputs), _conv(inputs, outputs))


class _Squeezed(nn.Module):
    """A separable convolution between whose halves channels are weighted by what is in the whole picture."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = _conv(inputs, inputs, 5, stride, groups=inputs)
        self.squeeze = nn.Conv2d(inputs, inputs // 4, 1)
        self.excite = nn.Conv2d(inputs // 4, inputs, 1)
        self.pointwise = _conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(x)
        weights = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu())
        return self.pointwise(x * functional.hardsigmoid(weights))


class LCNet(nn.Module):
    """PP-LCNet (Cui et al., 2021) of .75 width: features of 96, 192 and 384 channels at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stride8 = nn.Sequential(
            _conv(3, 16, 3, stride=2),
            _separable(16, 24, 3),
            _separable(24, 48, 3, stride=2),
            _separable(48, 48, 3),
            _separable(48, 96, 3, stride=2),
            _separable(96, 96, 3),
        )
        self.stride16 = nn.Sequential(_separable(96, 192, 3, stride=2), *(_separable(192, 192, 5) for _ in range(5)))
        self.stride32 = nn.Sequential(_Squeezed(192, 384, stride=2), _Squeezed(384, 384, stride=1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.stride8(images)
        middle = self.stride16(fine)
        return fine, middle, self.stride32(middle)


class Pyramid(nn.Module):
    """PicoDet's LCPAN: four levels of 96 channels, each with what the others know."""

    def __init__(self) -> None:
        super().__init__()

        def merge() -> nn.Sequential:
            both = 2 * _CHANNELS
            return nn.Sequential(_separable(both, both, 5), _separable(both, _CHANNELS, 5))

        def halve() -> nn.Sequential:
            return _separable(_CHANNELS, _CHANNELS, 5, stride=2)

        self.reduce = nn.ModuleList(_conv(width, _CHANNELS) for width in (96, 192, 384))
        self.down16, self.down8 = merge(), merge()
        self.halve8, self.up16 = halve(), merge()
        self.halve16, self.up32 = halve(), merge()
        self.context64, self.halve32 = halve(), halve()

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fine, middle, coarse = (reduce(level) for reduce, level in zip(self.reduce, features, strict=True))
        p16 = self.down16(torch.cat([functional.interpolate(coarse, scale_factor=2.0), middle], 1))
        p8 = self.down8(torch.cat([functional.interpolate(p16, scale_factor=2.0), fine], 1))
        p16 = self.up16(torch.cat([self.halve8(p8), p16], 1))
        p32 = self.up32(torch.cat([self.halve16(p16), coarse], 1))
        return p8, p16, p32, self.context64(coarse) + self.halve32(p32)


class _Scaled(nn.Conv2d):
    """A 1x1 convolution of one channel, as the product and the sum that it is.

    As a convolution it took OpenVINO 8 % of the network's time.
    """

    def __init__(self) -> None:
        super().__init__(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return x * self.weight.view(1, 1, 1, 1) + self.bias.view(1, 1, 1, 1)


class Head(nn.Module):
    """Both scores and the box's sides of one level."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_separable(_CHANNELS, _CHANNELS, 5), _separable(_CHANNELS, _CHANNELS, 5))
        self.gate = nn.Conv2d(_CHANNELS, _CHANNELS, 1)
        self.mix = _conv(_CHANNELS, _CHANNELS)
        self.aligned = nn.Sequential(_conv(_CHANNELS, 1, 5), _Scaled())
        self.person = nn.Conv2d(_CHANNELS, 1, 1)
        self.sides = nn.Conv2d(_CHANNELS, 4 * BINS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.features(x)
        mixed = self.mix(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())
        return self.person(mixed), self.aligned(x), self.sides(mixed)


class PicoDet(nn.Module):
    """Backbone, pyramid, and a head a level."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = LCNet()
        self.pyramid = Pyramid()
        self.heads = nn.ModuleList(Head() for _ in STRIDES)

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
        return self.judge(self.backbone(images))

    def judge(self, features: tuple[Tensor, Tensor, Tensor]) -> DetectorMaps:
        """Predict every cell from the backbone's features."""
        levels = [head(level) for head, level in zip(self.heads, self.pyramid(features), strict=True)]
        # Channels last before the levels are joined: so a convolution's output lies in memory already.
        person, aligned, sides = (
            torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in kind], 1).float()
            for kind in zip(*levels, strict=True)
        )
        return DetectorMaps(person[..., 0], aligned[..., 0], sides.unflatten(2, (4, BINS)))
