"""The TransPose networks in PyTorch: for training and conversion, not for running a stream."""

from __future__ import annotations

from transpose_sdk.models.checkpoint import (
    checkpoint_skeleton,
    load_checkpoint,
    load_stem,
    read_metadata,
    save_checkpoint,
)
from transpose_sdk.models.transpose import PoseOutput, TransPose
from transpose_sdk.models.variant import Variant
from transpose_sdk.models.zoo import MODEL_NAMES, create_model

__all__ = [
    "MODEL_NAMES",
    "PoseOutput",
    "TransPose",
    "Variant",
    "checkpoint_skeleton",
    "create_model",
    "load_checkpoint",
    "load_stem",
    "read_metadata",
    "save_checkpoint",
]
