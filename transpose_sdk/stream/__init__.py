"""The streaming runtime."""

from __future__ import annotations

from transpose_sdk.stream.detection import DetectionOptions
from transpose_sdk.stream.frame import Frame, Latency
from transpose_sdk.stream.pose_stream import Policy, PoseStream

__all__ = ["DetectionOptions", "Frame", "Latency", "Policy", "PoseStream"]
