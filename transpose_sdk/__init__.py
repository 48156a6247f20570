"""Real-time human pose with attention that explains itself.

import transpose_sdk as tp

estimator = tp.PoseEstimator()
poses = estimator(cv2.imread("street.jpg"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transpose_sdk.dependency import DependencyArea
    from transpose_sdk.drawing.annotator import PoseAnnotator
    from transpose_sdk.errors import TransposeError
    from transpose_sdk.estimator import PoseEstimator
    from transpose_sdk.poses import Poses
    from transpose_sdk.skeletons import COCO17, MPII16, Skeleton
    from transpose_sdk.stream import Frame, PoseStream

__version__ = "0.2.0"

__all__ = [
    "COCO17",
    "MPII16",
    "DependencyArea",
    "Frame",
    "PoseAnnotator",
    "PoseEstimator",
    "PoseStream",
    "Poses",
    "Skeleton",
    "TransposeError",
]

# Loaded at first use: numba and openvino cost a second together, and a program that only wants --help or the errors
# should not pay it.
_HOMES = {
    "COCO17": "skeletons",
    "MPII16": "skeletons",
    "DependencyArea": "dependency",
    "Frame": "stream",
    "PoseAnnotator": "drawing.annotator",
    "PoseEstimator": "estimator",
    "PoseStream": "stream",
    "Poses": "poses",
    "Skeleton": "skeletons",
    "TransposeError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
