"""The streaming runtime."""

from __future__ import annotations

from transpose_sdk.stream.detection import Detection
from transpose_sdk.stream.frame import Frame, Latency
from transpose_sdk.stream.stream import PoseStream

__all__ = ["Detection", "Frame", "Latency", "PoseStream"]
