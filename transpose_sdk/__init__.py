"""Real-time human pose with attention that explains itself.

import transpose_sdk as tp

estimator = tp.PoseEstimator()
poses = estimator(cv2.imread("street.jpg"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transpose_sdk.backend import Device as Device
    from transpose_sdk.backend import Precision as Precision
    from transpose_sdk.dependency import AttentionMode as AttentionMode
    from transpose_sdk.dependency import DependencyArea as DependencyArea
    from transpose_sdk.drawing.annotator import PoseAnnotator as PoseAnnotator
    from transpose_sdk.drawing.overlay import AttentionOverlay as AttentionOverlay
    from transpose_sdk.errors import TransposeError as TransposeError
    from transpose_sdk.estimator import PoseEstimator as PoseEstimator
    from transpose_sdk.media.sinks import CocoSink as CocoSink
    from transpose_sdk.media.sinks import CsvSink as CsvSink
    from transpose_sdk.media.sinks import ImageSink as ImageSink
    from transpose_sdk.media.sinks import JsonLinesSink as JsonLinesSink
    from transpose_sdk.media.sinks import JsonSink as JsonSink
    from transpose_sdk.media.sinks import MotSink as MotSink
    from transpose_sdk.media.sinks import OpenPoseSink as OpenPoseSink
    from transpose_sdk.media.sinks import VideoSink as VideoSink
    from transpose_sdk.media.sources import open_source as open_source
    from transpose_sdk.poses import Poses as Poses
    from transpose_sdk.skeletons import COCO17 as COCO17
    from transpose_sdk.skeletons import MPII16 as MPII16
    from transpose_sdk.skeletons import Skeleton as Skeleton
    from transpose_sdk.stream import DetectionOptions as DetectionOptions
    from transpose_sdk.stream import Frame as Frame
    from transpose_sdk.stream import Policy as Policy
    from transpose_sdk.stream import PoseStream as PoseStream
    from transpose_sdk.tracking.smoothing import SmoothingOptions as SmoothingOptions
    from transpose_sdk.tracking.tracker import TrackingOptions as TrackingOptions

__version__ = "0.2.0"

# Where the names above come from, once more: they are loaded at first use. numba and openvino cost a second together,
# and a program that only wants --help or the errors should not pay it.
_MODULES = {
    "backend": ("Device", "Precision"),
    "dependency": ("AttentionMode", "DependencyArea"),
    "drawing.annotator": ("PoseAnnotator",),
    "drawing.overlay": ("AttentionOverlay",),
    "errors": ("TransposeError",),
    "estimator": ("PoseEstimator",),
    "media.sinks": (
        "CocoSink",
        "CsvSink",
        "ImageSink",
        "JsonLinesSink",
        "JsonSink",
        "MotSink",
        "OpenPoseSink",
        "VideoSink",
    ),
    "media.sources": ("open_source",),
    "poses": ("Poses",),
    "skeletons": ("COCO17", "MPII16", "Skeleton"),
    "stream": ("DetectionOptions", "Frame", "Policy", "PoseStream"),
    "tracking.smoothing": ("SmoothingOptions",),
    "tracking.tracker": ("TrackingOptions",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
