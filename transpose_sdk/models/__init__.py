"""The TransPose networks in PyTorch: for training and conversion, not for running a stream."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from transpose_sdk.models.variant import Variant

if TYPE_CHECKING:
    from transpose_sdk.models.checkpoint import (
        checkpoint_skeleton,
        load_checkpoint,
        load_stem,
        read_metadata,
        save_checkpoint,
    )
    from transpose_sdk.models.create import MODEL_NAMES, create_model
    from transpose_sdk.models.transpose import TransPose

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

# Loaded at first use, since they need torch; the numbers of a network, which bundles state, do not.
_HOMES = {name: "checkpoint" for name in __all__ if "checkpoint" in name or name in ("load_stem", "read_metadata")}
_HOMES |= {"MODEL_NAMES": "create", "create_model": "create", "TransPose": "transpose"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
