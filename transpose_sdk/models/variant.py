"""The numbers that tell one member of the TransPose family from another (paper, tables 1, 4 and 7)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from transpose_sdk.checks.ranges import SHARE, Range
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.errors import InputError

POSITIONS = ("sine", "learnable", "none")
# Far beyond the family's: larger numbers would fill the memory before anybody sees that they are wrong.
SIDE = Range(1, 4096, whole=True)
LARGEST = {
    "layers": Range(1, 64, whole=True),
    "d_model": Range(1, 4096, whole=True),
    "ffn": Range(1, 16384, whole=True),
    "heads": Range(1, 256, whole=True),
    "keypoints": Range(1, 1000, whole=True),
    "stem_width": Range(1, 512, whole=True),
    "dilation": Range(1, 64, whole=True),
    "head_channels": Range(1, 4096, whole=True),
}
UPSAMPLINGS = ("deconv", "bilinear")

# What a stem divides the input by: (attention grid, smallest multiple of the input's sides). HRNet's third branch works
# at 1/16 and is added to the first one, so that sides which are no multiple of 16 do not fit together again.
_STRIDES = {"r": (8, 8), "h": (4, 16), "m": (8, 8), "m16": (16, 16), "l": (16, 16)}


@dataclass(frozen=True)
class Variant:
    """Everything needed to build a network again.

    Attributes:
        name: Name in `MODEL_NAMES` from which the numbers were taken.
        family: Stem: "r" ResNet-50 to layer2, "h" HRNet to stage 3, "m" MobileNetV2 to features.10,
            "m16" to features.13, "l" Lite-HRNet.
        layers: Encoder layers.
        d_model: Channels of the encoder, d in the paper.
        ffn: Hidden channels of the feed-forward part, h in the paper.
        heads: Attention heads.
        keypoints: Heatmaps to give.
        input_size: (height, width) in pixels.
        position: Position embedding, one of `POSITIONS`.
        upsampling: From the attention grid to the heatmap, one of `UPSAMPLINGS`; None for "h", which needs none.
        stem_width: Channels of HRNet's first branch, 32 or 48 as published; None for the others.
        dilation: Of the 3x3 convolutions behind the stride that "m" gives up; None for the others.
        head_channels: Output channels of the last deconvolution, one before it has twice as many; None means `d_model`.
        dropout: Of the feed-forward part and both residuals.
        attention_dropout: Of the attention weights; None means `dropout`.
    """

    name: str
    family: str
    layers: int
    d_model: int
    ffn: int
    heads: int
    keypoints: int = 17
    input_size: tuple[int, int] = (256, 192)
    position: str = "sine"
    upsampling: str | None = None
    stem_width: int | None = None
    dilation: int | None = None
    head_channels: int | None = None
    dropout: float = 0.1
    attention_dropout: float | None = None

    def __post_init__(self) -> None:
        if self.family not in _STRIDES:
            raise InputError(f"family {self.family!r} is unknown; choose one of {', '.join(_STRIDES)}")
        self._check_integers()
        self._check_choices()
        check_size(self.input_size, self.multiple)

    @property
    def stride(self) -> int:
        """Input pixels for one cell of the attention grid."""
        return _STRIDES[self.family][0]

    @property
    def multiple(self) -> int:
        """Both sides of an input must be multiples of this."""
        return _STRIDES[self.family][1]

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the attention grid at `input_size`."""
        return self.input_size[0] // self.stride, self.input_size[1] // self.stride

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain values that JSON can hold."""
        return asdict(self) | {"input_size": list(self.input_size)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Variant:
        """Inverse of `to_dict`.

        Raises:
            InputError: A field is unknown, missing or out of range.
        """
        known = {field.name for field in fields(Variant)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"unknown fields {unknown} in a network's description; known are {sorted(known)}")
        try:
            return typed(values, Variant)
        except MismatchError as error:
            raise InputError(f"the numbers of a network do not fit: {error}") from error

    def _check_integers(self) -> None:
        for name in ("layers", "d_model", "ffn", "heads", "keypoints", "stem_width", "dilation", "head_channels"):
            value = getattr(self, name)
            optional = name in ("stem_width", "dilation", "head_channels")
            if not (optional and value is None) and value not in LARGEST[name]:
                raise InputError(f"{name} is {value!r}; give {LARGEST[name]}")
        if self.d_model % self.heads:
            raise InputError(f"d_model {self.d_model} cannot be split into {self.heads} heads; give a multiple of it")
        if self.position == "sine" and self.d_model % 4:
            raise InputError(
                f"d_model is {self.d_model}; the sine table needs a multiple of 4 (sin and cos of y and x)"
            )

    def _check_choices(self) -> None:
        if self.position not in POSITIONS:
            raise InputError(f"position {self.position!r} is unknown; choose one of {', '.join(POSITIONS)}")
        if self.family == "h":
            if self.upsampling is not None or self.head_channels is not None:
                raise InputError("TP-H works at the heatmap's size; leave upsampling and head_channels out")
        elif self.upsampling not in UPSAMPLINGS:
            raise InputError(f"upsampling {self.upsampling!r} is unknown; choose one of {', '.join(UPSAMPLINGS)}")
        if (self.stem_width is not None) != (self.family == "h"):
            raise InputError(f"stem_width is {self.stem_width!r}; it belongs to TP-H, and only to TP-H")
        if (self.dilation is not None) != (self.family == "m"):
            raise InputError(f"dilation is {self.dilation!r}; it belongs to TP-M, and only to TP-M")
        for name in ("dropout", "attention_dropout"):
            value = getattr(self, name)
            if value is not None and (value not in SHARE or value == 1):
                raise InputError(f"{name} is {value!r}; give a share from 0 up to, but not including, 1")


def check_size(size: tuple[int, int], multiple: int) -> None:
    """Check that a stem divides an input's (height, width) in pixels.

    Raises:
        InputError: The size is not a pair of positive multiples.
    """
    if len(size) != 2 or any(side not in SIDE or side % multiple for side in size):
        raise InputError(
            f"the input size (height, width) is {tuple(size)}; give two multiples of {multiple} up to "
            f"{SIDE.high:g}, like (256, 192)"
        )
