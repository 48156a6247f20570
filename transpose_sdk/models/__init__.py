"""The TransPose networks in PyTorch: for training and conversion, not for running a stream."""

from __future__ import annotations

from transpose_sdk.models.checkpoint import (
    checkpoint_skeleton,
    load_checkpoint,
    load_stem,
    read_metadata,
    save_checkpoint,
)
from transpose_sdk.models.create import MODEL_NAMES, create_model
from transpose_sdk.models.transpose import TransPose
from transpose_sdk.models.variant import Variant

__all__ = [
    "MODEL_NAMES",
    "TransPose",
    "Variant",
    "checkpoint_skeleton",
    "create_model",
    "load_checkpoint",
    "load_stem",
    "read_metadata",
    "save_checkpoint",
]
