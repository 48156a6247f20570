"""The named networks and how to build one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transpose_sdk.errors import InputError
from transpose_sdk.models.transpose import TransPose, TransPoseH, TransPoseL, TransPoseM, TransPoseM16, TransPoseR
from transpose_sdk.models.variant import Variant

VARIANTS = {
    "tp_r_a3": Variant("tp_r_a3", "r", layers=3, d_model=256, ffn=1024, heads=8, upsampling="deconv"),
    "tp_r_a4": Variant("tp_r_a4", "r", layers=4, d_model=256, ffn=1024, heads=8, upsampling="deconv"),
    "tp_h_s": Variant("tp_h_s", "h", layers=4, d_model=64, ffn=128, heads=1, stem_width=32),
    "tp_h_a4": Variant("tp_h_a4", "h", layers=4, d_model=96, ffn=192, heads=1, stem_width=48),
    "tp_h_a6": Variant("tp_h_a6", "h", layers=6, d_model=96, ffn=192, heads=1, stem_width=48),
    "tp_m": Variant("tp_m", "m", layers=3, d_model=128, ffn=256, heads=4, upsampling="deconv", dilation=1),
    "tp_m16": Variant(
        "tp_m16", "m16", layers=3, d_model=192, ffn=384, heads=4, upsampling="deconv", head_channels=64, dropout=0.0
    ),
    "tp_l": Variant(
        "tp_l", "l", layers=3, d_model=128, ffn=256, heads=4, upsampling="deconv", head_channels=32, dropout=0.0
    ),
}
MODEL_NAMES = tuple(VARIANTS)

_NETWORKS: dict[str, type[TransPoseR | TransPoseH | TransPoseM | TransPoseM16 | TransPoseL]] = {
    "r": TransPoseR,
    "h": TransPoseH,
    "m": TransPoseM,
    "m16": TransPoseM16,
    "l": TransPoseL,
}
_OPTIONS = tuple(field.name for field in fields(Variant) if field.name not in ("name", "family"))


def create_model(
    name: str, *, keypoints: int = 17, input_size: tuple[int, int] = (256, 192), **options: Any
) -> TransPose:
    """Build a network with fresh weights.

    Args:
        name: One of `MODEL_NAMES`.
        keypoints: Heatmaps to give, K.
        input_size: (height, width) in pixels. The network also takes other sizes that its stem divides.
        **options: Numbers of `Variant` that differ from the named network's; None keeps them: layers, d_model, ffn,
            heads, position, upsampling, stem_width, dilation, head_channels, dropout, attention_dropout.

    Returns:
        The network in training mode. Its forward maps (N, 3, H, W) float32 to raw heatmaps (N, K, H / 4, W / 4).

    Raises:
        InputError: The name or an option is unknown, or a number does not fit.
    """
    if name not in VARIANTS:
        raise InputError(f"there is no network {name!r}; choose one of {', '.join(MODEL_NAMES)}")
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise InputError(f"{name} has no option {', '.join(unknown)}; its options are {', '.join(_OPTIONS)}")
    given = {option: value for option, value in options.items() if value is not None}
    values = VARIANTS[name].to_dict() | given | {"keypoints": keypoints, "input_size": input_size}
    return build_model(Variant.from_dict(values))


def build_model(variant: Variant) -> TransPose:
    """Build the network that a variant describes, with fresh weights."""
    return _NETWORKS[variant.family](variant)
