"""TransPose: a convolutional stem, a transformer encoder and a heatmap head (Yang et al., ICCV 2021, section 3).

The networks alone: crops, normalisation and decoding live elsewhere. State dict names are the published ones.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from transpose_sdk.attention import HEATMAP_STRIDE
from transpose_sdk.backend import Outputs
from transpose_sdk.errors import InputError
from transpose_sdk.models.encoder import Encoder, attention_map, resize_table, sine_table
from transpose_sdk.models.hrnet import HighResolutionModule, conv_bn_relu
from transpose_sdk.models.lite_hrnet import WIDTHS, LiteHRNet
from transpose_sdk.models.mobilenet import DEEP_CHANNELS, FINE_CHANNELS, STEM_CHANNELS, mobilenet_features
from transpose_sdk.models.resnet import bottlenecks
from transpose_sdk.models.variant import Variant, check_size

FUSED_CHANNELS = 64  # of TP-L's last map before its heatmaps


class TransPose(nn.Module):
    """What the members share; each adds its stem.

    Args:
        variant: Numbers of the network.
        stem_channels: Channels that `stem` gives.
    """

    def __init__(self, variant: Variant, stem_channels: int) -> None:
        super().__init__()
        self.variant = variant
        d_model = variant.d_model
        self.pos_embedding = _position_parameter(variant)
        self.reduce = nn.Conv2d(stem_channels, d_model, 1, bias=False)
        self.global_encoder = Encoder(
            variant.layers,
            d_model,
            variant.ffn,
            variant.heads,
            dropout=variant.dropout,
            attention_dropout=variant.dropout if variant.attention_dropout is None else variant.attention_dropout,
        )
        head_channels = d_model
        if variant.upsampling == "deconv":
            head_channels = variant.head_channels or d_model
            # Each doubles the grid, the last one to a quarter of the input.
            doublings = (variant.stride // HEATMAP_STRIDE).bit_length() - 1
            widths = [d_model, *(head_channels << number for number in reversed(range(doublings)))]
            self.deconv_layers = nn.Sequential(*(layer for pair in pairwise(widths) for layer in _deconv(*pair)))
        self.final_layer = _final_layer(head_channels, variant.keypoints)

    @property
    def keypoints(self) -> int:
        """Heatmaps, K."""
        return self.variant.keypoints

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) in pixels that the network was built for; others work too."""
        return self.variant.input_size

    @property
    def stride(self) -> int:
        """Input pixels for one cell of the attention grid."""
        return self.variant.stride

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the attention grid at `input_size`."""
        return self.variant.grid

    def stem(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to features (N, stem_channels, H / stride, W / stride)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Give raw heatmaps.

        Args:
            images: (N, 3, H, W) float32, RGB, normalised with ImageNet's mean and deviation.

        Returns:
            (N, K, H / 4, W / 4).

        Raises:
            InputError: The images have another form, or the stem does not divide their size.
        """
        encoded, fine, _ = self._encode(images)
        return self._head(encoded, fine)

    def forward_with_attention(self, images: Tensor) -> Outputs[Tensor]:
        """Give raw heatmaps and what the last layer's attention is made of; see `forward`."""
        encoded, fine, projections = self._encode(images)
        return Outputs(self._head(encoded, fine), *projections[-1])

    def attention_maps(self, images: Tensor) -> list[Tensor]:
        """Give every layer's attention, averaged over heads: tensors (N, L, L); see `forward`."""
        *_, projections = self._encode(images)
        return [attention_map(queries, keys) for queries, keys in projections]

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the encoder reads, and a map at a quarter of the input that goes past it to the head, or None."""
        return self.stem(images), None

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None, list[tuple[Tensor, Tensor]]]:
        if images.dim() != 4 or images.shape[1] != 3:
            raise InputError(f"images have the shape {tuple(images.shape)}; give (N, 3, H, W)")
        # As numbers: while it is traced, a shape is made of tensors.
        check_size((int(images.shape[2]), int(images.shape[3])), self.variant.multiple)
        stem, fine = self._features(images)
        features = self.reduce(stem)
        grid = (features.shape[2], features.shape[3])
        sequence = features.flatten(2).transpose(1, 2)
        sequence, projections = self.global_encoder(sequence, self._position(grid))
        return sequence.transpose(1, 2).unflatten(2, grid), fine, projections

    def _position(self, grid: tuple[int, int]) -> Tensor | None:
        """Position embedding (1, L, d) for an attention grid."""
        table: Tensor | None = self.pos_embedding
        if table is None:
            return None
        if grid != self.grid:
            if self.variant.position == "sine":  # made anew each time: a tenth of a millisecond is not worth a cache
                table = sine_table(*grid, self.variant.d_model, table.device)
            else:
                table = resize_table(table, self.grid, grid)
        return table.transpose(0, 1)

    def _head(self, features: Tensor, fine: Tensor | None) -> Tensor:
        if self.variant.upsampling == "deconv":
            return self.final_layer(self.deconv_layers(features))
        heatmaps = self.final_layer(features)
        if self.variant.upsampling == "bilinear":
            # A 1x1 convolution and an interpolation change places freely; on K channels the latter is the cheapest.
            return functional.interpolate(
                heatmaps, scale_factor=self.stride / HEATMAP_STRIDE, mode="bilinear", align_corners=False
            )
        return heatmaps


class TransPoseR(TransPose):
    """TP-R: ResNet-50 from conv1 to layer2."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant, stem_channels=512)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = bottlenecks(64, 64, blocks=3)
        self.layer2 = bottlenecks(256, 128, blocks=4, stride=2)
        for stage in (self.conv1, self.layer1, self.layer2):
            for module in stage.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 512, H / 8, W / 8)."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer2(self.layer1(x))


class TransPoseH(TransPose):
    """TP-H: HRNet to stage 3, of which only the first branch goes on."""

    def __init__(self, variant: Variant) -> None:
        width = variant.stem_width
        if width is None:
            raise InputError("TP-H needs a stem_width; give 32 or 48")
        super().__init__(variant, stem_channels=width)
        widths = (width, 2 * width, 4 * width)
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = bottlenecks(64, 64, blocks=4)
        # A transition's branch that is made anew from a larger one sits one Sequential deeper.
        self.transition1 = nn.ModuleList(
            [conv_bn_relu(256, widths[0]), nn.Sequential(conv_bn_relu(256, widths[1], stride=2))]
        )
        self.stage2 = nn.Sequential(HighResolutionModule(widths[:2]))
        self.transition2 = nn.ModuleList(
            [nn.Identity(), nn.Identity(), nn.Sequential(conv_bn_relu(widths[1], widths[2], stride=2))]
        )
        self.stage3 = nn.Sequential(*(HighResolutionModule(widths, outputs=3 if i < 3 else 1) for i in range(4)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)

    def stem(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, stem_width, H / 4, W / 4)."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer1(functional.relu(self.bn2(self.conv2(x))))
        branches = self.stage2([transition(x) for transition in self.transition1])
        branches = [*branches, self.transition2[2](branches[-1])]
        return self.stage3(branches)[0]


class TransPoseM(TransPose):
    """TP-M: MobileNetV2 to features.10 at stride 8, our member for small CPUs."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant, stem_channels=STEM_CHANNELS)
        self.features = mobilenet_features(10, output_stride=8, dilation=variant.dilation or 1)

    def stem(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 64, H / 8, W / 8)."""
        return self.features(images)


class TransPoseM16(TransPose):
    """TP-M16: MobileNetV2 to features.13 at its own stride of 16, where attention costs a fourth of TP-M's a layer.

    Beside features.13 the encoder gets features.6 with its 2x2 cells side by side, so that a cell of 16 px still tells
    where within it something lies.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant, stem_channels=DEEP_CHANNELS + 4 * FINE_CHANNELS)
        self.features = mobilenet_features(13)

    def stem(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 224, H / 16, W / 16)."""
        fine = self.features[:7](images)
        return torch.cat((self.features[7:](fine), functional.pixel_unshuffle(fine, 2)), dim=1)


class TransPoseL(TransPose):
    """TP-L: Lite-HRNet, whose features of three resolutions the encoder reads with the finer ones' cells side by side.

    The finest features also go past the encoder to the head: a cell of 16 px need not carry all that lies in it.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant, stem_channels=16 * WIDTHS[0] + 4 * WIDTHS[1] + WIDTHS[2])
        self.lite_hrnet = LiteHRNet()
        channels = (variant.head_channels or variant.d_model) + WIDTHS[0]
        self.fuse = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, FUSED_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(FUSED_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.final_layer = _final_layer(FUSED_CHANNELS, variant.keypoints)

    def stem(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 1120, H / 16, W / 16)."""
        return self._features(images)[0]

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fine, middle, coarse = self.lite_hrnet(images)
        folded = (functional.pixel_unshuffle(fine, 4), functional.pixel_unshuffle(middle, 2), coarse)
        return torch.cat(folded, dim=1), fine

    def _head(self, features: Tensor, fine: Tensor | None) -> Tensor:
        assert fine is not None
        return self.final_layer(self.fuse(torch.cat((self.deconv_layers(features), fine), dim=1)))


def _final_layer(channels: int, keypoints: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, keypoints, 1)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.constant_(layer.get_parameter("bias"), 0.0)
    return layer


def _deconv(channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    deconv = nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1, bias=False)
    nn.init.normal_(deconv.weight, std=0.001)
    return deconv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


def _position_parameter(variant: Variant) -> nn.Parameter | None:
    if variant.position == "none":
        return None
    height, width = variant.grid
    if variant.position == "learnable":
        return nn.Parameter(torch.randn(height * width, 1, variant.d_model))
    return nn.Parameter(sine_table(height, width, variant.d_model), requires_grad=False)
