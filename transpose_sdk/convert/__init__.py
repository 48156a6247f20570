"""From a trained network to graphs that run without torch: ONNX, OpenVINO, and the bundle that holds them."""

from __future__ import annotations

from transpose_sdk.convert.export import export_bundle

__all__ = ["export_bundle"]
